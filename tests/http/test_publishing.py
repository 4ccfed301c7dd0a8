"""Checkpoints leave the house: to files, an address, a time-stamping authority."""

import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from starlette.testclient import TestClient
from tests.http.authority import Authority, listening
from tests.http.bank import Bank
from tests.http.conftest import settings_of

from api import notary, outlets, posting, timestamps
from api.app import create_app
from api.notary import Signed
from api.notary_rounds import NotaryRounds
from api.notary_settings import NotarySettings, is_safe
from api.outlets import Outlet
from api.posting import PostError
from api.runtime import Runtime
from api.timestamps import TimestampError

AT = datetime(2026, 1, 1, tzinfo=UTC)
WAIT_S = 20.0

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")


def signed(size: int, ledger_id: int = 1) -> Signed:
    """A checkpoint that nobody signed."""
    return Signed(ledger_id, "events", size, bytes(32), AT, f"a\n{size}\nb\n\n— c d\n")


class Gate:
    """Something to send to, which fails as long as it is shut, and notes what came through."""

    def __init__(self) -> None:
        """Begin shut."""
        self.sizes: list[int] = []
        self.tried = threading.Semaphore(0)
        self.opened = threading.Event()
        self.through = threading.Semaphore(0)

    def send(self, item: Signed) -> None:
        """Let it through, or fail."""
        self.tried.release()
        if not self.opened.is_set():
            raise PostError("shut")
        self.sizes.append(item.size)
        self.through.release()


def test_what_fails_is_tried_again_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """An outlet that keeps all sends every checkpoint once, in order, when it can."""
    monkeypatch.setattr(outlets, "RETRY_S_MIN", 0.01)
    gate = Gate()
    outlet = Outlet("test", gate.send, "all")
    for size in (1, 2, 3):
        outlet.offer(signed(size))
    assert gate.tried.acquire(timeout=WAIT_S)
    assert gate.tried.acquire(timeout=WAIT_S)
    gate.opened.set()
    for _ in range(3):
        assert gate.through.acquire(timeout=WAIT_S)
    outlet.stop()
    assert gate.sizes == [1, 2, 3]
    assert (outlet.sent, outlet.failures >= 2) == (3, True)


def test_where_the_newest_matters_the_others_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an outage of the address it gets the newest checkpoint of each log."""
    monkeypatch.setattr(outlets, "RETRY_S_MIN", 0.01)
    gate = Gate()
    outlet = Outlet("test", gate.send, "newest")
    outlet.offer(signed(1))
    assert gate.tried.acquire(timeout=WAIT_S)
    for size in (2, 3):
        outlet.offer(signed(size))
    outlet.offer(signed(7, ledger_id=2))
    gate.opened.set()
    for _ in range(2):
        assert gate.through.acquire(timeout=WAIT_S)
    outlet.stop()
    assert gate.sizes in ([3, 7], [1, 3, 7])


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage for ever does not fill the memory: the oldest are given up, and counted."""
    monkeypatch.setattr(outlets, "WAITING_MAX", 5)
    gate = Gate()
    outlet = Outlet("test", gate.send, "all")
    for size in range(20):
        outlet.offer(signed(size))
    assert outlet.failures >= 15
    outlet.stop()


def test_a_file_is_only_ever_added_to(tmp_path: Path) -> None:
    """Every note stands in it, each with an empty line after it, after what was there."""
    file = tmp_path / "some" / "checkpoints.txt"
    for size in (1, 2):
        outlets.file_sender(file)(signed(size))
    assert file.read_text() == signed(1).note + "\n" + signed(2).note + "\n"


def test_a_folder_gets_a_file_a_checkpoint(tmp_path: Path) -> None:
    """One that is there already stays as it is."""
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    send = outlets.file_sender(folder)
    for size in (1, 20, 1):
        send(signed(size))
    names = sorted(file.name for file in folder.iterdir())
    assert names == ["ledger-1-events-000000000000001.txt", "ledger-1-events-000000000000020.txt"]
    assert (folder / names[1]).read_text() == signed(20).note


@pytest.mark.parametrize(
    ("status", "content"),
    [(302, b""), (307, b""), (404, b""), (500, b"no"), (200, b"x" * 70_000)],
)
def test_an_address_that_does_not_simply_take_it_has_failed(status: int, content: bytes) -> None:
    """Redirects are not followed; an answer without end is not read."""
    asked: list[bytes] = []

    def answer(body: bytes) -> tuple[int, bytes]:
        """Note, and answer so."""
        asked.append(body)
        return status, content

    with listening(answer) as url, pytest.raises(PostError):
        posting.post(url, b"note", "text/plain")
    assert asked == [b"note"]


def test_an_address_where_nobody_is_has_failed() -> None:
    """Nobody listens there any more."""
    with listening(lambda _: (200, b"")) as url:
        assert posting.post(url, b"note", "text/plain") == b""
    with pytest.raises(PostError, match="does not answer"):
        posting.post(url, b"note", "text/plain")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://witness.example/add", True),
        ("http://127.0.0.1:8080/", True),
        ("http://[::1]:8080/", True),
        ("http://localhost/", True),
        ("http://witness.example/", False),
        ("http://127.0.0.1.example/", False),
        ("https://me:secret@witness.example/", False),
        ("file:///etc/passwd", False),
        ("https://", False),
        ("nothing", False),
    ],
)
def test_only_addresses_that_keep_it_private_are_taken(url: str, *, expected: bool) -> None:
    """Encrypted, or on this machine; never with a password in it."""
    assert is_safe(url) is expected
    if not expected:
        with pytest.raises(PostError):
            posting.post(url, b"", "text/plain")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A time-stamping authority."""
    return Authority(tmp_path_factory.mktemp("tsa") / "tsa")


@needs_openssl
def test_a_time_stamp_is_of_the_note_and_by_the_authority(authority: Authority) -> None:
    """OpenSSL itself accepts it, for that note and for no other."""
    with listening(authority.answer) as url:
        response, at = timestamps.stamp(url, "the note\n", authority.root)
    assert at.tzinfo is not None
    assert authority.accepts(response, b"the note\n")
    assert not authority.accepts(response, b"another note\n")


@needs_openssl
@pytest.mark.parametrize(
    ("garble", "reason"),
    [
        (lambda _: b"", "no time-stamp"),
        (lambda _: b"<html>", "no time-stamp"),
        (lambda answer: answer[:-20], "no time-stamp"),
        (lambda answer: answer[:-5] + bytes(5), "not signed|no time-stamp"),
    ],
)
def test_a_garbled_time_stamp_is_refused(
    authority: Authority, garble: Callable[[bytes], bytes], reason: str
) -> None:
    """Whatever is not a response, or not signed."""

    def answer(query: bytes) -> tuple[int, bytes]:
        """The authority's answer, garbled."""
        return 200, garble(authority.answer(query)[1])

    with listening(answer) as url, pytest.raises(TimestampError, match=reason):
        timestamps.stamp(url, "the note\n", authority.root)


@needs_openssl
def test_a_time_stamp_of_something_else_or_by_others_is_refused(
    authority: Authority, tmp_path: Path
) -> None:
    """An answer to an earlier question; an authority whose root is not the known one."""
    kept: list[bytes] = []

    def answer(query: bytes) -> tuple[int, bytes]:
        """The answer to the first question, for ever."""
        kept.append(authority.answer(query)[1])
        return 200, kept[0]

    with listening(answer) as url:
        timestamps.stamp(url, "the first note\n", authority.root)
        with pytest.raises(TimestampError, match="not of what was sent"):
            timestamps.stamp(url, "the second note\n", authority.root)
    other = Authority(tmp_path / "other")
    with listening(authority.answer) as url:
        with pytest.raises(TimestampError, match="not signed"):
            timestamps.stamp(url, "the note\n", other.root)
        with pytest.raises(TimestampError, match="certificates"):
            timestamps.stamp(url, "the note\n", tmp_path / "missing")


@pytest.fixture
def posted() -> list[bytes]:
    """What was posted."""
    return []


@pytest.fixture
def published(
    database_url: str, tmp_path: Path, posted: list[bytes], authority: Authority
) -> Iterator[tuple[Bank, NotaryRounds]]:
    """A bank whose notary makes its rounds, and publishes everywhere."""

    def take(body: bytes) -> tuple[int, bytes]:
        """Note it."""
        posted.append(body)
        return 200, b""

    with listening(take) as url, listening(authority.answer) as clock_url:
        settings = msgspec.structs.replace(
            settings_of(database_url, tmp_path),
            notary=NotarySettings(
                seconds=0.05,
                file=tmp_path / "published.txt",
                url=url,
                timestamp_url=clock_url,
                timestamp_every=2,
                timestamp_roots=authority.root,
            ),
        )
        with Runtime(settings) as runtime, TestClient(create_app(runtime)) as client:
            rounds = NotaryRounds(runtime)
            yield Bank(runtime, client, "own"), rounds
            rounds.stop()


@needs_openssl
def test_a_server_signs_publishes_and_stamps_by_itself(
    published: tuple[Bank, NotaryRounds], posted: list[bytes], tmp_path: Path
) -> None:
    """Without being asked: at the end the newest checkpoint is everywhere."""
    bank, rounds = published
    for number in range(3):
        bank.open(f"account-{number}")
        bank.client.get(
            "/v1/checkpoint", params={"min_position": number + 1}, headers=bank.headers()
        )
    bank.open("last")
    rounds.stop()
    with bank.runtime.connect("ledger_reader") as connection:
        found = notary.checkpoints(connection, bank.ledger_id)
        stamps = {
            item.size: timestamps.stored(connection, bank.ledger_id, "events", item.size)
            for item in found
        }
    head = bank.client.get("/v1/info", headers=bank.headers()).json()["position"]
    assert found[-1].size == head
    text = (tmp_path / "published.txt").read_text()
    events = [item.note + "\n" for item in found]
    assert all(note in text for note in events)
    assert found[-1].note.encode() in posted
    stamped = [size for size, stamp in stamps.items() if stamp is not None]
    assert found[0].size in stamped
    assert len(stamped) == (len(found) + 1) // 2
    shown = bank.client.get(f"/v1/checkpoints/{stamped[0]}", headers=bank.headers()).json()
    assert shown["timestamp"] is not None
    assert {outlet.name for outlet in rounds.outlets} == {"file", "url", "timestamp"}


def test_an_address_that_never_answers_delays_nothing(database_url: str, tmp_path: Path) -> None:
    """Commands, receipts and checkpoints go on while the outside is away."""
    settings = msgspec.structs.replace(
        settings_of(database_url, tmp_path),
        notary=NotarySettings(seconds=0.05, url="http://127.0.0.1:9/", file=Path("/dev/null/no")),
    )
    with Runtime(settings) as runtime, TestClient(create_app(runtime)) as client:
        bank = Bank(runtime, client, "own")
        rounds = NotaryRounds(runtime)
        bank.open("a")
        answer = bank.client.post("/v1/checkpoints", headers=bank.headers())
        assert answer.status_code == 201
        rounds.stop()
        assert bank.client.get("/readyz").json()["notary"] == "signing"
