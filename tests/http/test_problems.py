"""The table of refusals: complete, stable, and saying only what is theirs to say."""

from api.problems import STATUS_OF, body_of, headers_of, pointer_of
from ledger_core import errors
from projections.reading import PositionAhead


def test_every_refusal_has_a_status() -> None:
    """Every leaf of the tree is in the table, and nothing else is."""
    assert set(STATUS_OF) == {*errors.leaves(), PositionAhead}


def test_codes_are_unique() -> None:
    """A code names one refusal."""
    codes = [error.code for error in STATUS_OF]
    assert len(set(codes)) == len(codes)


def test_what_exists_not_is_404_and_what_may_be_retried_says_when() -> None:
    """The status follows from what the caller can do."""
    for error, status in STATUS_OF.items():
        assert (status == 404) == issubclass(error, errors.NotFound)
        assert (status in {409, 503}) == issubclass(error, errors.Conflict)
    assert dict(headers_of(errors.LedgerBusy(reason="queue_full"))) == {"Retry-After": "1"}
    assert dict(headers_of(PositionAhead(3, 2))) == {"Retry-After": "1"}


def test_a_document_has_the_values_seen() -> None:
    """What the decision had seen is in the document, apart from its own members."""
    document = body_of(errors.InsufficientFunds(available_minor="5"))
    assert document.type == "urn:ledger:problem:insufficient_funds"
    assert (document.status, document.seen) == (422, {"available_minor": "5"})


def test_pointers_follow_the_body() -> None:
    """A field's name is turned into a JSON pointer."""
    assert pointer_of("postings[3].amount") == "/postings/3/amount"
    assert pointer_of("profile.name") == "/profile/name"
