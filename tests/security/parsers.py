"""Everything that takes in what a stranger wrote, as functions of bytes: what fuzzing runs.

A target either understands its input, or refuses it by an exception that it says in advance; any
other exception is a fault of ours. It has seeds, from which changed inputs are made.
"""

import base64
import io
import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from fractions import Fraction
from typing import Any

import msgspec
from tests.rules.test_camt053 import STATEMENT
from tests.verifier.archives import tar_of
from tests.verifier.checks import export, verify

from api import api_keys, bulk, camt053, cursors, jwks, log_lines, sessions, tokens, trusted_keys
from api.archive_reading import Archive
from api.archives import ArchiveRefused
from api.batches import BatchBody
from api.camt053_xml import Camt053Refused
from api.command_routes import body_type
from api.cursors import Place, Scope
from api.edge import trace_of
from api.execution import execution_of, sent_of
from api.journal_text import JournalRefused, read_journal
from api.jwks import JwksError
from api.oidc_settings import OidcSettings
from api.paths import path_id
from api.problems import Problem
from api.proxies import Proxies
from api.proxy_settings import ProxySettings
from api.reasons import reason_of
from api.routes import ACTIONS, COMMANDS
from api.tokens import TokenRefused
from api.wire import decode, decode_shallow, require_json, require_unique_members
from ledger_core import checkpoints, events, notes
from ledger_core.commands import WireCommand
from ledger_core.errors import LedgerError
from ledger_core.events import UnknownEvent
from ledger_core.fields import require_id, require_metadata, require_text
from ledger_core.notes import NoteError

TODAY = date(2024, 6, 15)
NOW = datetime(2024, 6, 15, 12, tzinfo=UTC)
SECRET = b"S" * 32

Run = Callable[[bytes], object]

_COMMAND: msgspec.json.Decoder[Any] = msgspec.json.Decoder(WireCommand)
_BATCH = msgspec.json.Decoder(BatchBody)
_BODIES: list[msgspec.json.Decoder[Any]] = [
    *(msgspec.json.Decoder(body_type(route)) for route in COMMANDS),
    *(msgspec.json.Decoder(route.body) for route in ACTIONS if route.body is not None),
]
_HEADERS = (
    b"x-request-id",
    b"traceparent",
    b"idempotency-key",
    b"if-match",
    b"ledger-reason",
    b"content-type",
)
_OIDC = OidcSettings(
    issuer="https://issuer.example", audience="ledger", jwks="keys.json", ledger="main"
)
_PROXIES = Proxies(ProxySettings(("10.0.0.0/8",)))
_SCOPE = Scope(1, "list_accounts", {"currency": "EUR"})
_EXAMPLES = [
    *(json.dumps(route.example).encode() for route in COMMANDS),
    *(json.dumps(route.example).encode() for route in ACTIONS if route.example is not None),
]


class Target(msgspec.Struct, frozen=True):
    """A parser: how it is run, what it is fed on, and how it may refuse."""

    run: Run
    seeds: tuple[bytes, ...]
    refusals: tuple[type[Exception], ...]

    def feed(self, data: bytes) -> object:
        """What comes of an input; ``None`` where it is refused."""
        try:
            return self.run(data)
        except self.refusals:
            return None


def _camt(data: bytes) -> object:
    """Bank statements of a file, each checked and all of them put in order."""
    statements = camt053.read_camt053(data)
    for statement in statements:
        camt053.check_statement(statement)
        for entry in statement.entries:
            camt053.entry_key(statement, entry)
    return camt053.order_statements(statements)


def _journal(data: bytes) -> object:
    """Entries of a plain-text journal, which balance."""
    journal = read_journal(data.decode(errors="replace"), today=TODAY)
    for entry in journal.entries:
        sums: dict[str, Fraction] = {}
        for posting in entry.postings:
            sum_before = sums.get(posting.commodity, Fraction())
            sums[posting.commodity] = sum_before + Fraction(posting.amount)
        assert not any(sums.values())
    return journal


def _lines(data: bytes) -> object:
    """Commands of a file, one a line: together and one by one."""
    lines = list(bulk.read_lines(io.BytesIO(data)))
    report = bulk.LoadReport()
    return bulk._decoded(list(enumerate(lines, start=1)), report)  # noqa: SLF001 - without a bank


def _body(data: bytes) -> object:
    """A body of any one route: the first byte says which."""
    return decode(_BODIES[data[0] % len(_BODIES)], data[1:]) if data else None


def _batch(data: bytes) -> object:
    """A batch, as it is decoded: first loosely, then each command by itself."""
    body = decode_shallow(_BATCH, data)
    require_unique_members(data)
    return body


def _cursor(data: bytes) -> object:
    """A cursor; nobody but us makes one that is taken."""
    place = cursors.read(SECRET, _SCOPE, data.decode("latin-1"))
    assert cursors.write(SECRET, _SCOPE, place).encode() == data
    return place


def _key(data: bytes) -> object:
    """An API key, held against none and against one of that id."""
    presented = api_keys.parse(data.decode("latin-1"))
    if presented is not None:
        assert not api_keys.matches(None, presented, SECRET)
    return presented


def _token(data: bytes) -> object:
    """The header of a token, and the refusal of its signature: there is no key of that id."""
    text = data.decode("latin-1")
    header = tokens.header_of(text, _OIDC.algorithms)
    try:
        tokens.verified(text, header, None)
    except TokenRefused:
        return header
    raise AssertionError("verified by no key")


def _claims(data: bytes) -> object:
    """What a token says, once its signature was found good."""
    return tokens.claims_of(data, _OIDC, NOW)


def _key_set(data: bytes) -> object:
    """The keys of an issuer of tokens."""
    return jwks.parse(data, _OIDC.algorithms)


def _session(data: bytes) -> object:
    """The token of a session, held against none."""
    presented = sessions.parse(data.decode("latin-1"))
    if presented is not None:
        assert not sessions.matches(None, presented, SECRET)
    return presented


def _forwarded(data: bytes) -> object:
    """What a trusted proxy says: where a request came from, and the client's certificate."""
    peer = ("10.0.0.1", 5)
    client = _PROXIES.client(peer, [(b"x-forwarded-for", data)])
    scope = {"client": peer, "headers": [(b"client-cert", data)]}
    return client, _PROXIES.certificate(scope)


def _header(data: bytes) -> object:
    """A value of a header that the program reads; the first byte says of which."""
    name, value = _HEADERS[data[0] % len(_HEADERS) if data else 0], data[1:]
    headers = [(name, value)]
    trace, sent = trace_of(headers), sent_of(headers)
    if sent.if_match is not None:
        execution_of(b"", sent.if_match, "account_id")
    reason_of(headers)
    if name == b"content-type":
        require_json(headers)
    return trace


def _query(data: bytes) -> object:
    """The query of a command's address."""
    return execution_of(data, None, None)


def _texts(data: bytes) -> object:
    """An id in an address, a text, and metadata."""
    text = path_id(data.decode("latin-1"))
    require_id(text, field="id")
    require_text(text, field="text")
    require_metadata({text: text})
    return text


def _archive(data: bytes) -> object:
    """An exported log, member by member, every line of it."""
    with Archive(io.BytesIO(data)) as archive:
        while archive.name is not None and archive.name != "manifest.json":
            if archive.name.startswith("events/"):
                for line in archive.lines(archive.name):
                    log_lines.halves(line)
            elif archive.name == "keys.json":
                trusted_keys.parse(archive.document(archive.name))
            else:
                archive.skip(archive.name)
        return archive.finish()


def _event(data: bytes) -> object:
    """An event's stored bytes: the first line names its type and version."""
    name, _, text = data.partition(b"\n")
    kind, _, version = name.decode("latin-1").partition(" ")
    return events.decode(kind, int(version), text)


def _note(data: bytes) -> object:
    """A signed note and the checkpoint in it."""
    text = data.decode(errors="replace")
    notes.parse(text)
    return checkpoints.parse(text)


def _verified(data: bytes) -> object:
    """Whatever the verifier is given: with other keys than the log's, never proven."""
    report = verify(data, keys=None)
    assert report.verdict != "proven"
    return report


def _events_of(members: dict[str, bytes]) -> bytes:
    """The first events of an export, as lines."""
    name = next(name for name in members if name.endswith(".jsonl"))
    return members[name]


_EXPORT = export(1, 12).members()
_CURSOR = cursors.write(SECRET, _SCOPE, Place(7, ("anna-current", 3))).encode()
_NOTE = next(text for name, text in _EXPORT.items() if name.startswith("checkpoints/"))

_TOKEN = b".".join(
    base64.urlsafe_b64encode(part).rstrip(b"=")
    for part in (b'{"alg":"ES256","kid":"k1","typ":"JWT"}', b'{"iss":"x"}', b"s" * 64)
)
_KEY_SET = json.dumps(
    {
        "keys": [
            {
                "kty": "EC",
                "crv": "P-256",
                "kid": "k1",
                "use": "sig",
                "alg": "ES256",
                "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
            },
            {"kty": "RSA", "kid": "k2", "n": "AQAB" * 90, "e": "AQAB"},
        ]
    }
).encode()
"""The key of an example in RFC 7515, and one that is too weak in its own way."""

TARGETS: dict[str, Target] = {
    "camt": Target(_camt, (STATEMENT.encode(),), (Camt053Refused,)),
    "journal": Target(
        _journal,
        (
            b"2024-01-02 * Opening\n    Assets:A  1,000.00 EUR\n    Equity:B\n",
            (
                b"P 2024-01-01 ACME 3 EUR\n= /x/\n    A  (0.1)\n    B\n"
                b"2024/1/3 x ; d:[=2024-02-01]\n"
                b"    A  3 ACME @ 120 EUR\n    B  -1 = 4\n    [C]  1\n    [D]\n"
            ),
            (
                b"commodity 1.000,00 EUR\nalias a=b\nY2023\n~ monthly\n    A  1\n    B\ncomment\n"
                b"end comment\napply account X\n01-02 (code) p\n    A  EUR 1.5\n    B\nend apply\n"
            ),
        ),
        (JournalRefused,),
    ),
    "lines": Target(
        _lines, (b"\n".join(b'{"type":"deposit","key":"k",' + e[1:] for e in _EXAMPLES[:3]),), ()
    ),
    "body": Target(
        _body, tuple(bytes([index]) + text for index, text in enumerate(_EXAMPLES)), (Problem,)
    ),
    "batch": Target(
        _batch,
        (
            (
                b'{"mode":"atomic","commands":[{"type":"deposit","key":"k","account_id":"a",'
                b'"amount":"5","currency":"EUR"}]}'
            ),
        ),
        (Problem,),
    ),
    "cursor": Target(_cursor, (_CURSOR, _CURSOR[:-4]), (Problem,)),
    "key": Target(_key, (b"lk_1_0123456789abcdef_" + b"a1" * 32,), ()),
    "header": Target(
        _header,
        (
            b"\x01" + b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            b'\x03"7", "8"',
            b"\x04" + "case 2026-114 für".encode(),
            b"\x05" + b"application/json; charset=utf-8",
        ),
        (Problem,),
    ),
    "token": Target(_token, (_TOKEN, _TOKEN + b"==", b"e30.e30.e30"), (TokenRefused,)),
    "claims": Target(
        _claims,
        (
            json.dumps(
                {
                    "iss": _OIDC.issuer,
                    "aud": ["ledger"],
                    "sub": "t-1001",
                    "exp": NOW.timestamp() + 600,
                    "nbf": NOW.timestamp(),
                    "roles": ["teller"],
                    "amr": ["pwd", "mfa"],
                    "auth_time": NOW.timestamp() - 5,
                    "cnf": {"x5t#S256": "A" * 43},
                }
            ).encode(),
        ),
        (TokenRefused,),
    ),
    "key set": Target(_key_set, (_KEY_SET,), (JwksError,)),
    "session": Target(_session, (b"ls_1_0123456789abcdef_" + b"a1" * 32,), ()),
    "forwarded": Target(
        _forwarded, (b"203.0.113.7, 10.0.0.3", b"[2001:db8::1]:443", b":MAMCAQA=:"), ()
    ),
    "query": Target(_query, (b"dry_run=true&at_position=7",), (Problem,)),
    "texts": Target(_texts, (b"anna-current", b"%C3%85sa%2F1", b"a%00b%FF"), (LedgerError,)),
    "archive": Target(_archive, (tar_of(_EXPORT),), (ArchiveRefused, ValueError)),
    "event": Target(
        _event,
        (b"JournalEntryPosted 1\n" + b'{"kind":"transfer","postings":[]}',),
        (msgspec.MsgspecError, UnknownEvent, LedgerError, ValueError),
    ),
    "note": Target(_note, (_NOTE,), (NoteError,)),
    "keys": Target(trusted_keys.parse, (_EXPORT["keys.json"],), (ArchiveRefused,)),
    "verifier": Target(_verified, (tar_of(_EXPORT), _events_of(_EXPORT), _NOTE), ()),
}
