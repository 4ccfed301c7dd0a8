"""What a request for a view may ask: when, which page, and how fresh.

Times are explicit: an instant needs its offset from UTC, a date is a day and nothing else. What is
not known is refused, and so is a parameter given twice.
"""

import re
from datetime import date, datetime
from typing import Annotated, Any, Self

from fastapi import Request
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from api.callers import Caller
from api.edge import CALLER
from api.problems import FieldError, malformed
from ledger_core.errors import ValidationFailed
from ledger_core.fields import ID_CHARACTERS_MAX, require_metadata
from projections.entry_queries import METADATA_FILTERS_MAX

LIMIT_DEFAULT = 100
LIMIT_MAX = 1_000
WAIT_S_DEFAULT = 5.0
WAIT_S_MAX = 30.0

_METADATA = "metadata."
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_INSTANT = re.compile(
    r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:\d{2})", re.ASCII
)
_DIGITS = re.compile(r"\d{1,18}", re.ASCII)


def _formed(pattern: re.Pattern[str], rule: str) -> BeforeValidator:
    """Refuse a text that does not have the form, before it is understood generously."""

    def check(value: object) -> object:
        """The value itself, if it is of the form."""
        if isinstance(value, str) and pattern.fullmatch(value) is None:
            raise ValueError(rule)
        return value

    return BeforeValidator(check)


Day = Annotated[date, _formed(_DATE, "a date in the form 2026-01-31")]
Instant = Annotated[
    datetime,
    _formed(_INSTANT, "a time with its offset: 2026-01-31T12:00:00Z (a + is written %2B)"),
]
Position = Annotated[int, _formed(_DIGITS, "a whole number, 0 or more")]
Limit = Annotated[
    int,
    _formed(_DIGITS, "a whole number"),
    Field(ge=1, description=f"Items a page; {LIMIT_MAX:,} at most are given, whatever is asked."),
    AfterValidator(lambda asked: min(asked, LIMIT_MAX)),
]
Identifier = Annotated[str, Field(min_length=1, max_length=ID_CHARACTERS_MAX)]


class Query(BaseModel):
    """Query parameters: known ones only."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Fresh(Query):
    """How fresh the view must be."""

    min_position: Position | None = Field(
        default=None, description="Wait until the view reflects this position of the log."
    )
    wait_s: float = Field(
        default=WAIT_S_DEFAULT, ge=0, le=WAIT_S_MAX, description="How long to wait, in seconds."
    )


class AsOfQuery(Fresh):
    """The moment as the ledger knew it: a recorded time, a position, or now."""

    as_of: Instant | None = Field(
        default=None, description="What was recorded up to and including this moment."
    )
    as_of_position: Position | None = Field(
        default=None, description="What was recorded up to and including this position."
    )

    @model_validator(mode="after")
    def _one_moment(self) -> Self:
        """A recorded time or a position, not both."""
        if self.as_of is not None and self.as_of_position is not None:
            raise ValueError("as_of or as_of_position, not both")
        return self


class DatedQuery(AsOfQuery):
    """The same, and the day on which postings count."""

    value_date: Day | None = Field(
        default=None, description="Count postings up to the end of this value date only."
    )


class MetadataQuery(Query):
    """What is listed has this metadata: `metadata.<name>=<value>`, up to five times."""

    # Names of metadata are the caller's own; all else that is not known is refused below.
    model_config = ConfigDict(extra="allow", frozen=True)

    @property
    def metadata(self) -> dict[str, str]:
        """The metadata asked for: all of it must be there, with exactly these values."""
        return {
            name.removeprefix(_METADATA): str(value)
            for name, value in (self.model_extra or {}).items()
        }

    @model_validator(mode="after")
    def _known(self) -> Self:
        """What is not known by name is metadata, in its form."""
        if any(not name.startswith(_METADATA) for name in self.model_extra or {}):
            raise PydanticCustomError("extra_forbidden", "known parameters only")
        if len(self.metadata) > METADATA_FILTERS_MAX:
            raise ValueError(f"at most {METADATA_FILTERS_MAX} names of metadata")
        try:
            require_metadata(self.metadata)
        except ValidationFailed as error:
            raise ValueError(f"metadata: {error.rule}") from None
        return self


class Page(Query):
    """Which page of a listing."""

    cursor: str | None = Field(default=None, description="The `next` of the page before.")
    limit: Limit = LIMIT_DEFAULT


_OF_NO_FILTER = frozenset({"cursor", "limit", "min_position", "wait_s"})


def filters_of(query: BaseModel, **others: str) -> dict[str, str]:
    """The part of a query that a cursor is bound to, as text."""
    values = {**query.model_dump(mode="json", exclude_none=True), **others}
    return {name: str(value) for name, value in values.items() if name not in _OF_NO_FILTER}


async def caller_of(request: Request) -> Caller:
    """Who sent the request; the parameters of its query are each given once.

    Raises:
        Problem: a parameter is given twice.
    """
    names = [name for name, _ in request.query_params.multi_items()]
    if len(set(names)) != len(names):
        raise malformed(FieldError("each parameter at most once"))
    caller: Caller = request.scope[CALLER]
    return caller


def parameter_errors(found: list[Any], known: frozenset[str]) -> list[FieldError]:
    """What is wrong with the parameters, without repeating any."""
    errors = []
    for error in found:
        location = error["loc"]
        name = str(location[1]) if len(location) > 1 and str(location[1]) in known else None
        if error["type"] == "extra_forbidden":
            rule, name = f"known parameters: {', '.join(sorted(known)) or 'none'}", None
        elif error["type"] == "value_error":
            rule = str(error["ctx"]["error"])
        else:
            rule = str(error["msg"])
        errors.append(FieldError(rule, name))
    return errors
