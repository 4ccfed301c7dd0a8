"""The processes of a simulated installation, and where their clients wait for answers."""

from concurrent.futures import Future
from typing import TYPE_CHECKING

from tests.simulation.monitor import Monitor, Request

from ledger_core.books import Books
from ledger_core.errors import LedgerBusy
from ledger_core.ledger import Ledger, Outcome

if TYPE_CHECKING:
    from tests.simulation.session import Session

    from ledger_core.writer import Writer


class Process:
    """A server or a projector: what is gone when it is killed."""

    def __init__(self, name: str, task: str) -> None:
        """Running, with no connection yet."""
        self.name = name
        self.task = task
        self.is_dead = False
        self.session: Session | None = None


class Server(Process):
    """A process that takes commands: a writer and its ledger."""

    def __init__(self, number: int) -> None:
        """Begun by ``World``."""
        super().__init__(f"server-{number}", f"writer-{number}")
        self.number = number
        self.is_stopping = False
        self.waiting: dict[int, Request] = {}
        self.ledger: Ledger
        self.writer: Writer

    @property
    def books(self) -> Books:
        """What its ledger has in memory."""
        return self.ledger._books  # noqa: SLF001 - nobody else has to look into a writer's memory


class Reply:
    """Where a client waits for its answer."""

    def __init__(self, monitor: Monitor, server: Server, request: Request) -> None:
        """Begin to wait."""
        self._monitor = monitor
        self._server = server
        self._request = request
        server.waiting[id(self)] = request
        request.in_flight += 1

    @staticmethod
    def set_running_or_notify_cancel() -> bool:
        """Nobody gives up here: who is tired of waiting asks again."""
        return True

    def set_result(self, result: list[Outcome], /) -> None:
        """Be answered."""
        if self._is_over():
            return
        if self._monitor.answered(self._request, result):
            self._request.is_answered = True
        self._monitor.compare_books(self._server.books, self._server.name)

    def set_exception(self, exception: BaseException, /) -> None:
        """Be told that it failed."""
        if self._is_over() or isinstance(exception, LedgerBusy):
            return
        self._monitor.find("error", f"{self._request.name}: {exception!r}")

    def from_future(self, future: Future[list[Outcome]]) -> None:
        """Be told by a future."""
        error = future.exception()
        if error is None:
            self.set_result(future.result())
        else:
            self.set_exception(error)

    def _is_over(self) -> bool:
        """Whether nobody hears it: the process was killed. Else it is answered from now on."""
        if self._server.is_dead:
            return True
        if self._server.waiting.pop(id(self), None) is None:
            self._monitor.find("once", f"{self._request.name} is answered twice")
        self._request.in_flight -= 1
        return False
