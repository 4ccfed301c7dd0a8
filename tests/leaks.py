"""Whether anything personal or secret shows where it must not, over the whole run of the tests.

While a test runs, the program itself is listened to: every value that is sealed, or sent as part of
a profile, a search or a login, is remembered; every line that is logged, every problem document,
every answer's headers, every error's body, every text of metrics and every span is kept. When the
test is over, none of the latter may hold any of the former, nor may any row of the test's database:
in clear, in other case, percent-encoded, escaped, in hexadecimal or in base64. What programs of the
tests printed as their log, and PostgreSQL's own log, are looked through at the end of the run.

What this cannot see: values that are too short or too plain to be told from chance
(``is_telling``), and what was encrypted or hashed badly.
"""

import base64
import json
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import psycopg
import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan
from psycopg import sql

from api import api_keys, problems
from api.edge import Edge
from api.metrics import Metrics
from api.trace_sending import SpanSender
from api.wire import Message, Receive, Scope, Send
from ledger_core.customers import PERSONAL_FIELDS
from ledger_core.vault import Vault

LENGTH_MIN = 8
DISTINCT_MIN = 5
"""Shorter values, and those of fewer different characters, turn up by chance."""
VALUES_MAX = 2_000
"""Of one test: those that make values by the thousand are not searched for each of them."""
TEXT_MAX = 20_000
"""Characters kept of one text."""
FORMS_FEW = 200
"""So many are looked for one by one; more are first told apart by how they begin."""
SECRET_FIELDS = frozenset(
    {"password", "new_password", "old_password", "current_password", "recovery_code", "secret"}
)

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_encode = msgspec.json.Encoder(enc_hook=str).encode


class Leak(msgspec.Struct, frozen=True):
    """A value that was found where it must not be; ``near`` is the text around it."""

    where: str
    near: str


class Watch:
    """What one process has heard: values to be kept from sight, and texts that anybody may see."""

    def __init__(self) -> None:
        """Nothing heard yet."""
        self.values: set[str] = set()
        self.run_values: set[str] = set()
        self._texts: list[tuple[str, str]] = []

    def learn(self, value: object) -> None:
        """Remember a value that must not be seen, if it can be told from chance."""
        if isinstance(value, str) and is_telling(value) and len(self.values) < VALUES_MAX:
            self.values.add(value)
            self.run_values.add(value)

    def learn_fields(self, fields: object, names: frozenset[str] = PERSONAL_FIELDS) -> None:
        """Remember the values of the fields of these names."""
        if isinstance(fields, Mapping):
            for name, value in fields.items():
                if name in names:
                    self.learn(value)

    def learn_request(self, path: str, body: bytes) -> None:
        """Remember what of a request's body must not be seen, whether or not it is taken."""
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            return
        is_search = path.endswith("/search")
        for found in objects_of(document):
            self.learn_fields(found, SECRET_FIELDS)
            for name in ("profile", "changes"):
                self.learn_fields(found.get(name))
            if is_search:
                self.learn_fields(found, frozenset(found))

    def hear(self, where: str, text: str) -> None:
        """Keep a text that anybody may see."""
        if text:
            self._texts.append((where, text[:TEXT_MAX]))

    def leaks(self) -> list[Leak]:
        """The values of this test that its texts hold."""
        return [
            leak
            for where, texts in _by_place(self._texts).items()
            for leak in search(where, texts, self.values)
        ]

    def forget(self) -> None:
        """Begin a new test."""
        self.values.clear()
        self._texts.clear()


def is_telling(value: str) -> bool:
    """Whether finding a value somewhere can hardly be chance; days are everywhere."""
    return (
        len(value) >= LENGTH_MIN
        and len(set(value.casefold())) >= DISTINCT_MIN
        and _DAY.fullmatch(value) is None
    )


def forms_of(value: str) -> set[str]:
    """The ways in which a value may stand in a text, in small letters; none is shorter than it."""
    whole = {
        value,
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        quote(value),
        value.encode().hex(),
        value.casefold().encode().hex(),
        *in_base64(value),
    }
    return {form.casefold() for form in whole}


def search(where: str, text: str, values: Iterable[str]) -> list[Leak]:
    """Where a text holds any of the values, in any form; each form once."""
    forms = {form for value in values for form in forms_of(value)}
    folded = text.casefold()
    if len(forms) > FORMS_FEW:
        forms = _candidates(folded, forms)
    return [
        Leak(where, folded[max(0, place - 60) : place + len(form) + 20])
        for form in sorted(forms)
        if (place := folded.find(form)) >= 0
    ]


def _candidates(folded: str, forms: Iterable[str]) -> set[str]:
    """Those forms whose beginning is in the text, found in one pass over it."""
    by_beginning: dict[str, set[str]] = {}
    for form in forms:
        by_beginning.setdefault(form[:LENGTH_MIN], set()).add(form)
    ends = range(LENGTH_MIN, len(folded) + 1)
    found = {begin for end in ends if (begin := folded[end - LENGTH_MIN : end]) in by_beginning}
    return {form for begin in found for form in by_beginning[begin]}


def in_base64(value: str) -> Iterator[str]:
    """What base64 makes of a value within any text: three ways, by where in the text it begins."""
    raw = value.encode()
    for shift in range(3):
        whole = base64.b64encode(bytes(shift) + raw).decode().rstrip("=")
        # The first characters depend on what comes before, the last on what comes behind.
        inner = whole[(0, 2, 3)[shift] : len(whole) - (0 if (shift + len(raw)) % 3 == 0 else 1)]
        yield inner
        if "+" in inner or "/" in inner:
            yield inner.replace("+", "-").replace("/", "_")


def objects_of(value: object) -> Iterator[Mapping[str, Any]]:
    """Every object within a JSON value."""
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, Mapping):
            yield found
            waiting.extend(found.values())
        elif isinstance(found, list):
            waiting.extend(found)


def search_database(url: str, values: Iterable[str]) -> list[Leak]:
    """Where any row of any table of a database holds any of the values."""
    values = list(values)
    if not values:
        return []
    found: list[Leak] = []
    with psycopg.connect(url, autocommit=True) as connection:
        for schema, table in _tables(connection):
            name = sql.Identifier(schema, table)
            statement = sql.SQL("COPY (SELECT t::text FROM {} AS t) TO STDOUT").format(name)
            with connection.cursor() as cursor, cursor.copy(statement) as copy:
                rows = b"".join(copy).decode(errors="replace")
            found += search(f"table {schema}.{table}", rows, values)
    return found


def search_files(folder: Path, values: Iterable[str]) -> list[Leak]:
    """Where any log below a folder holds any of the values."""
    values = list(values)
    return [
        leak
        for pattern in ("*.log", "*terminal*.txt", "*stderr*")
        for path in sorted(folder.rglob(pattern))
        if path.is_file()
        for leak in search(path.name, path.read_text(errors="replace"), values)
    ]


def require_none(found: list[Leak]) -> None:
    """Fail the test where anything was found."""
    if found:
        shown = "\n".join(f"{leak.where}: …{leak.near}…" for leak in found[:10])
        pytest.fail(f"{len(found)} values that nobody may see were seen:\n{shown}", pytrace=False)


def install(watch: Watch, patch: pytest.MonkeyPatch) -> None:
    """Listen to the program in this process, from now on."""
    _listen_to_values(watch, patch)
    _listen_to_logs(watch, patch)
    _listen_to_answers(watch, patch)
    _listen_to_spans(watch, patch)


def _listen_to_values(watch: Watch, patch: pytest.MonkeyPatch) -> None:
    """Remember what is sealed, and the secrets of keys."""
    seal, create = Vault.seal_with, api_keys.create

    def sealing(self: Vault, *given: Any, **named: Any) -> dict[str, str]:  # noqa: ANN401 - as it is
        for item in (*given, *named.values()):
            watch.learn_fields(item)
        return seal(self, *given, **named)

    def creating(*given: Any, **named: Any) -> Any:  # noqa: ANN401 - as it is
        key = create(*given, **named)
        watch.learn(key.text.rpartition("_")[2])
        return key

    patch.setattr(Vault, "seal_with", sealing)
    patch.setattr(api_keys, "create", creating)


def _listen_to_logs(watch: Watch, patch: pytest.MonkeyPatch) -> None:
    """Hear every line that is logged: what an exception says is not logged, and so not heard."""
    send = structlog.BoundLoggerBase._proxy_to_logger  # noqa: SLF001 - where every line passes

    def logging_line(
        self: structlog.BoundLoggerBase,
        method_name: str,
        event: str | None = None,
        *given: Any,  # noqa: ANN401 - as it is
        **named: Any,  # noqa: ANN401 - as it is
    ) -> Any:  # noqa: ANN401 - as it is
        said = {name: value for name, value in named.items() if name != "exc_info"}
        watch.hear("log", _encode([event, given, said]).decode())
        return send(self, method_name, event, *given, **named)

    patch.setattr(structlog.BoundLoggerBase, "_proxy_to_logger", logging_line)

    class Hearing(logging.Handler):
        """The lines of libraries."""

        def emit(self, record: logging.LogRecord) -> None:
            """Hear a line."""
            watch.hear("log of a library", record.getMessage())

    logging.getLogger().addHandler(Hearing())


def _listen_to_answers(watch: Watch, patch: pytest.MonkeyPatch) -> None:
    """Hear problems, headers, bodies of errors and metrics; remember what requests say."""
    problem, render, edge = problems.body_of, Metrics.render, Edge.__call__

    def making_problem(*given: Any, **named: Any) -> Any:  # noqa: ANN401 - as it is
        document = problem(*given, **named)
        watch.hear("problem", _encode(document).decode())
        return document

    def rendering(self: Metrics, *given: Any, **named: Any) -> bytes:  # noqa: ANN401 - as it is
        text = render(self, *given, **named)
        watch.hear("metrics", text.decode())
        return text

    async def answering(self: Edge, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await edge(self, scope, receive, send)
            return
        path = str(scope["path"])
        await edge(self, scope, _remembering(watch, path, receive), _hearing(watch, send))

    patch.setattr(problems, "body_of", making_problem)
    patch.setattr(Metrics, "render", rendering)
    patch.setattr(Edge, "__call__", answering)


def _listen_to_spans(watch: Watch, patch: pytest.MonkeyPatch) -> None:
    """Hear every span before it is sent."""
    send = SpanSender._sends  # noqa: SLF001 - where every span passes

    def sending(self: SpanSender, spans: Sequence[ReadableSpan]) -> bool:
        for span in spans:
            watch.hear("span", span.to_json(indent=None))
        return send(self, spans)

    patch.setattr(SpanSender, "_sends", sending)


def _remembering(watch: Watch, path: str, receive: Receive) -> Receive:
    """The same requests; what of their bodies must not be seen is remembered."""
    body = bytearray()

    async def receiving() -> Message:
        message = await receive()
        body.extend(message.get("body", b""))
        if body and not message.get("more_body", False):
            watch.learn_request(path, bytes(body))
        return message

    return receiving


def _hearing(watch: Watch, send: Send) -> Callable[[Message], Awaitable[None]]:
    """The same answers; their headers and, where they are errors, their bodies are heard."""
    statuses: list[int] = []

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])
            lines = [b": ".join(header) for header in message.get("headers", ())]
            watch.hear("header", b"\n".join(lines).decode("latin-1"))
        elif statuses and statuses[0] >= 400:
            watch.hear("error", message.get("body", b"").decode(errors="replace"))
        await send(message)

    return sending


def _by_place(texts: Iterable[tuple[str, str]]) -> dict[str, str]:
    """All texts of each place as one."""
    joined: dict[str, list[str]] = {}
    for where, text in texts:
        joined.setdefault(where, []).append(text)
    return {where: "\n".join(found) for where, found in joined.items()}


def _tables(connection: psycopg.Connection[tuple[Any, ...]]) -> list[tuple[str, str]]:
    """Every table with anything in it that is the program's own."""
    rows = connection.execute(
        "SELECT n.nspname, c.relname FROM pg_class AS c JOIN pg_namespace AS n"
        " ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'm') AND n.nspname <>"
        " 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'"
        " AND pg_relation_size(c.oid) > 0 ORDER BY 1, 2"
    )
    return [(str(row[0]), str(row[1])) for row in rows]
