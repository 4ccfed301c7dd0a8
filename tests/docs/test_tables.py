"""The tables of the documentation are what the code makes of them."""

import pytest
from tests.docs.tables import ROOT, TABLES, refusals, with_table

from api.problems import STATUS_OF


@pytest.mark.parametrize("page", TABLES)
def test_a_page_has_the_table_that_the_code_makes(page: str) -> None:
    """Whoever changes the code runs ``make docs-tables``."""
    text = (ROOT / page).read_text()
    assert text == with_table(text, TABLES[page]())


def test_every_refusal_has_its_row() -> None:
    """Codes of the ledger and of HTTP alike, each with its status and sentence, once."""
    rows = [line.split(" | ") for line in refusals().splitlines()[2:]]
    codes = [row[0].rpartition("</a>")[2].strip("`") for row in rows]
    assert len(set(codes)) == len(codes)
    assert {error.code for error in STATUS_OF} <= set(codes)
    assert {"not_found", "internal_error", "writer_stopped", "invalid_cursor"} <= set(codes)
    by_code = dict(zip(codes, rows, strict=True))
    for error, status in STATUS_OF.items():
        assert by_code[error.code][1:3] == [str(status), error.sentence]


def test_a_row_names_the_figures_that_the_code_shows() -> None:
    """They are read from the places where the refusal is raised."""
    (row,) = [line for line in refusals().splitlines() if "`insufficient_funds`" in line]
    assert "`available_minor`" in row
    assert "`needed_minor`" in row
