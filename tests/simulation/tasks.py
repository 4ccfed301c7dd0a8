"""Threads that take turns: each runs until it waits, and then somebody else says who is next.

The product's threads become tasks (greenlets) of one thread. Twins of what the product takes from
``threading`` stand in its place; wherever a real thread could be made to wait, a task hands the
turn back to the hub. So one list of names says in which order everything happened.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from types import ModuleType, TracebackType
from typing import Any, Literal, Self

from greenlet import getcurrent, greenlet  # type: ignore[import-untyped] # it brings no types

State = Literal["ready", "waiting", "blocked", "done"]
"""Ready to go on; until it is notified; until a lock is free; at its end."""


class Killed(BaseException):
    """The process of this task is gone: it ends here, and nothing it does counts any more."""


class Task:
    """One thread of control; ``error`` is what ended it, if it did not end by itself."""

    __slots__ = ("_run", "error", "greenlet", "is_killed", "name", "on_end", "state")

    def __init__(self, name: str, run: Callable[[], object]) -> None:
        """Ready to begin."""
        self.name = name
        self._run = run
        self.state: State = "ready"
        self.error: BaseException | None = None
        self.is_killed = False
        self.on_end: list[Task] = []
        self.greenlet = greenlet(self._to_the_end)

    def _to_the_end(self) -> None:
        """Run, and note how it ended."""
        try:
            self._run()
        except BaseException as error:  # noqa: BLE001 - kept for who looks at the task
            if not self.is_killed:
                self.error = error
        self.state = "done"
        for task in self.on_end:
            task.state = "ready"


class Hub:
    """The tasks of one simulated world; whoever drives it is no task itself."""

    def __init__(self) -> None:
        """Nobody yet."""
        self._main = getcurrent()
        self.tasks: dict[str, Task] = {}
        self.current: Task | None = None

    def spawn(self, name: str, run: Callable[[], object]) -> Task:
        """Add a task; it begins when it is resumed first."""
        task = self.tasks[name] = Task(name, run)
        return task

    def ready(self) -> list[Task]:
        """The tasks that could go on."""
        return [task for task in self.tasks.values() if task.state == "ready"]

    def resume(self, task: Task) -> None:
        """Let a task go on until it waits."""
        self.current = task
        task.greenlet.switch()
        self.current = None
        if task.state == "done":
            self.tasks.pop(task.name, None)

    def pause(self) -> None:
        """In a task: hand the turn back.

        Raises:
            Killed: its process has ended meanwhile.
        """
        task = self.current
        if task is None:
            return
        if not task.is_killed:
            self._main.switch()
        if task.is_killed:
            raise Killed

    def wait(self) -> None:
        """In a task: hand the turn back until somebody makes it ready again."""
        assert self.current is not None, "only a task can wait"
        self.current.state = "waiting"
        self.pause()

    def kill(self, name: str) -> None:
        """End a task at once: its own clean-up runs, and has no effect."""
        task = self.tasks.pop(name, None)
        if task is None:
            return
        task.is_killed = True
        if task.greenlet:  # It has begun.
            self.resume(task)
        task.state = "done"

    def end(self) -> None:
        """End all."""
        for name in list(self.tasks):
            self.kill(name)


class Condition:
    """As ``threading.Condition``: between entering and leaving it, only ``wait`` gives way."""

    def __init__(self, hub: Hub) -> None:
        """Nobody waits."""
        self._hub = hub
        self._waiters: list[Task] = []

    def __enter__(self) -> Self:
        """Another may come first."""
        self._hub.pause()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing was held."""

    def notify(self, n: int = 1) -> None:
        """Make so many of those ready that wait."""
        for task in self._waiters[:n]:
            task.state = "ready"
        del self._waiters[:n]

    def notify_all(self) -> None:
        """Make all ready that wait."""
        self.notify(len(self._waiters))

    def wait(self, timeout: float | None = None) -> bool:
        """Until notified; with a time-out, whenever its turn comes."""
        if timeout is not None:
            self._hub.pause()
            return True
        if self._hub.current is not None:
            self._waiters.append(self._hub.current)
        self._hub.wait()
        return True

    def wait_for(self, predicate: Callable[[], bool], timeout: float | None = None) -> bool:
        """Until it holds; with a time-out, until its turn comes."""
        while not predicate():
            self.wait(timeout)
            if timeout is not None:
                return predicate()
        return True


class Thread:
    """As ``threading.Thread``."""

    def __init__(
        self, hub: Hub, target: Callable[[], object], name: str, *, daemon: bool = True
    ) -> None:
        """Not begun yet."""
        self.daemon = daemon
        self._hub = hub
        self._target = target
        self._name = name
        self._task: Task | None = None

    def start(self) -> None:
        """Become a task."""
        self._task = self._hub.spawn(self._name, self._target)

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._task is not None and self._task.state != "done"

    def join(self) -> None:
        """Wait for its end."""
        if self._task is not None and self._task.state != "done" and self._hub.current is not None:
            self._task.on_end.append(self._hub.current)
            self._hub.wait()


class Event:
    """As ``threading.Event``, for one who waits between two rounds of work."""

    def __init__(self, hub: Hub) -> None:
        """Not set."""
        self._hub = hub
        self._is_set = False

    def is_set(self) -> bool:
        """Whether it was set."""
        return self._is_set

    def set(self) -> None:
        """Set it."""
        self._is_set = True

    def wait(self, _timeout: float) -> bool:
        """The time is over whenever its turn comes."""
        self._hub.pause()
        return self._is_set


class Threading:
    """What the product finds under the name ``threading``."""

    def __init__(self, hub: Hub) -> None:
        """Make tasks of that hub."""
        self._hub = hub

    def Condition(self) -> Condition:  # noqa: N802 - the name it has in ``threading``
        """Make a condition."""
        return Condition(self._hub)

    def Thread(self, target: Callable[[], object], name: str, *, daemon: bool) -> Thread:  # noqa: N802 - as above
        """Make a thread."""
        return Thread(self._hub, target, name, daemon=daemon)


class AtOnce:
    """In the place of a pool of one thread: what is submitted is done by the task itself."""

    def __init__(self, max_workers: int, thread_name_prefix: str) -> None:
        """Need nothing."""
        assert max_workers == 1, thread_name_prefix

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is under way."""

    @staticmethod
    def submit(work: Callable[..., Any], *arguments: object) -> Future[Any]:
        """Do it; what goes wrong is told to who asks for the result."""
        done: Future[Any] = Future()
        try:
            done.set_result(work(*arguments))
        except Killed:
            raise
        except BaseException as error:  # noqa: BLE001 - as a pool does
            done.set_exception(error)
        return done


@contextmanager
def replaced(*places: tuple[ModuleType | type, str, object]) -> Iterator[None]:
    """Have other values under these names of modules or classes, for a while."""
    before = [(owner, name, vars(owner)[name]) for owner, name, _ in places]
    try:
        for owner, name, value in places:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)
