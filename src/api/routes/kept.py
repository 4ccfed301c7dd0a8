"""Routes of kept states: holds, groups, orders, requests and whatever else is kept by id.

One pair of routes a kind, each a line of data: one by its id, and a listing. Both can be read as of
any moment. A document is the core's own state, with amounts as strings of minor units.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import Query
from fastapi.responses import Response
from pydantic import Field

from api import answers, masking
from api.parameters import AsOfQuery, Page
from api.views import PathId, QueryId, Reader, ReaderOf, ViewRoute, moment, plain
from ledger_core import approval_policies, approvals
from ledger_core.errors import (
    ApprovalNotFound,
    HoldNotFound,
    LedgerError,
    OrderNotFound,
    PolicyNotFound,
    TemplateNotFound,
)
from ledger_core.kept import KEEPERS, State
from projections.kept_queries import kept_item, kept_items

_MINOR = "_minor"


class KeptView(msgspec.Struct, frozen=True, kw_only=True):
    """How a kind of kept state is shown.

    ``left_out`` are fields of the state that are not shown, ``derived`` properties that are.
    """

    kind: str
    one: str
    many: str
    path: str
    not_found: type[LedgerError]
    title: str
    left_out: tuple[str, ...] = ()
    derived: tuple[str, ...] = ()
    by_account: bool = False


class KeptQuery(AsOfQuery):
    """As of when."""


class KeptsQuery(AsOfQuery, Page):
    """Which of them, and as of when."""

    status: QueryId | None = Field(default=None, description="Only those in this status.")


class KeptsOfAccountQuery(KeptsQuery):
    """Which of them, of which account, and as of when."""

    account_id: QueryId | None = Field(default=None, description="Only those of this account.")


SHOWN = (
    KeptView(
        kind="hold",
        one="hold",
        many="holds",
        path="/v1/holds",
        not_found=HoldNotFound,
        title="Holds",
        derived=("remaining_minor",),
        by_account=True,
    ),
    KeptView(
        kind="template",
        one="template",
        many="templates",
        path="/v1/templates",
        not_found=TemplateNotFound,
        title="Posting templates with all their versions",
        by_account=True,
    ),
    KeptView(
        kind="order",
        one="standing_order",
        many="standing_orders",
        path="/v1/standing-orders",
        not_found=OrderNotFound,
        title="Standing orders",
        by_account=True,
    ),
    KeptView(
        kind=approvals.KIND,
        one="approval",
        many="approvals",
        path="/v1/approvals",
        not_found=ApprovalNotFound,
        title="Approval requests",
        left_out=("subject", "sealed"),
    ),
    KeptView(
        kind=approval_policies.KIND,
        one="approval_policy",
        many="approval_policies",
        path="/v1/approval-policies",
        not_found=PolicyNotFound,
        title="Approval policies",
    ),
)


def _name(view: KeptView) -> str:
    """The name of the document of one of them."""
    return "".join(part.capitalize() for part in view.one.split("_")) + "Document"


def _document_type(view: KeptView) -> type[msgspec.Struct]:
    """The document of one of them: what the state says, and which moment that reflects."""
    state = KEEPERS[view.kind].state
    fields: list[tuple[str, Any]] = [
        ("position", int),
        ("recorded_at", datetime | None),
        ("id", str),
        ("status", str),
        ("since_position", int),
    ]
    for field in msgspec.structs.fields(state):
        if field.name in {"position", "status", *view.left_out}:
            continue
        kind = str | None if field.name.endswith(_MINOR) else field.type
        fields.append((field.name, kind))
    fields += [(name, str if name.endswith(_MINOR) else Any) for name in view.derived]
    return msgspec.defstruct(
        _name(view), fields, frozen=True, kw_only=True, namespace={"__doc__": state.__doc__}
    )


def _listing_type(view: KeptView, document: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """The document of a page of them."""
    fields: list[tuple[str, Any]] = [
        (view.many, list[document]),  # type: ignore[valid-type]
        ("next", str),
        ("position", int),
        ("recorded_at", datetime | None),
    ]
    return msgspec.defstruct(
        f"{_name(view)}s",
        fields,
        frozen=True,
        kw_only=True,
        namespace={"__doc__": f"{view.title}, in the order in which they began."},
    )


def _shown(
    view: KeptView, kept_id: str, state: State, position: int, recorded_at: datetime | None
) -> dict[str, Any]:
    """The members of the document of one of them."""
    members = plain(state)
    since = members.pop("position")
    for name in view.left_out:
        members.pop(name, None)
    for name in view.derived:
        value = getattr(state, name)
        members[name] = str(value) if name.endswith(_MINOR) else value
    return {
        "position": position,
        "recorded_at": recorded_at,
        "id": kept_id,
        **members,
        "status": state.status,
        "since_position": since,
    }


def _get(view: KeptView) -> Callable[..., Any]:
    """The endpoint of one of them."""

    async def get(
        reader: ReaderOf, kept_id: PathId, query: Annotated[KeptQuery, Query()]
    ) -> Response:
        """One of them by its id, as of then."""
        await reader.wait(query)
        found = await reader.run(
            lambda connection: kept_item(
                connection,
                reader.ledger_id,
                view.kind,
                kept_id,
                as_of=moment(query.as_of, query.as_of_position),
            )
        )
        if found is None:
            raise view.not_found(field="id")
        document = masking.covered_document(
            _shown(view, kept_id, found.state, found.position, found.recorded_at),
            reader.caller.authority.personal,
        )
        return Response(answers.encode(document), media_type="application/json")

    get.__name__ = f"get_{view.one}"
    return get


def _list(view: KeptView) -> Callable[..., Any]:
    """The endpoint of the listing."""
    operation = f"list_{view.many}"

    async def page_of(reader: Reader, query: KeptsQuery, tag: str | None) -> Response:
        """A page of them."""
        await reader.wait(query)
        place = reader.place(operation, query)
        page = await reader.run(
            lambda connection: kept_items(
                connection,
                reader.ledger_id,
                view.kind,
                status=query.status,
                tag=tag,
                as_of=moment(query.as_of, query.as_of_position, place),
                after=None if place is None else (int(place.after[0]), str(place.after[1])),
                limit=query.limit,
            )
        )
        document = {
            view.many: masking.covered_document(
                [
                    _shown(view, kept_id, state, page.position, page.recorded_at)
                    for kept_id, state in page.items
                ],
                reader.caller.authority.personal,
            ),
            "next": reader.cursor(operation, query, page.position, page.next_after),
            "position": page.position,
            "recorded_at": page.recorded_at,
        }
        return Response(answers.encode(document), media_type="application/json")

    async def listing(reader: ReaderOf, query: Annotated[KeptsQuery, Query()]) -> Response:
        """Those in a status, as of then."""
        return await page_of(reader, query, None)

    async def listing_of_account(
        reader: ReaderOf, query: Annotated[KeptsOfAccountQuery, Query()]
    ) -> Response:
        """Those of an account or in a status, as of then."""
        tag = None if query.account_id is None else f"account:{query.account_id}"
        return await page_of(reader, query, tag)

    endpoint = listing_of_account if view.by_account else listing
    endpoint.__name__ = operation
    return endpoint


def _views() -> tuple[ViewRoute, ...]:
    """Both routes of every kind."""
    routes: list[ViewRoute] = []
    for view in SHOWN:
        document = _document_type(view)
        routes += [
            ViewRoute(
                path=view.path,
                operation=f"list_{view.many}",
                endpoint=_list(view),
                summary=view.title,
                answer=_listing_type(view, document),
            ),
            ViewRoute(
                path=view.path + "/{kept_id}",
                operation=f"get_{view.one}",
                endpoint=_get(view),
                summary=f"One of them: {view.title.lower()}",
                answer=document,
            ),
        ]
    return tuple(routes)


VIEWS = _views()
