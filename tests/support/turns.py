"""Processes that take turns: one thread or task runs at a time, on a clock that moves only when all wait.

Threads are greenlets here: to hand over to another thread of the system costs more than most turns. Whoever
runs gives way at each step to the server, so `choose` decides the whole course of events, and the
same choices make the same course again. What production code waits with is replaced by what waits here.
"""

import asyncio
import math
import selectors
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, Self, TypeVar

import pytest
from greenlet import getcurrent, greenlet

from app.queueing import broker, consumer, ownership
from app.services import execution

T = TypeVar("T")
Condition = Callable[[], bool]


class Crashed(BaseException):
    """The process was killed: what it was doing ends here, and nothing of it reaches the server any more."""


@dataclass(eq=False)
class Process:
    """A process of the service: alive, standing still until some time (ms), or dead."""

    name: str
    frozen_until: float = 0
    dead: bool = False
    stopping: bool = False
    on_crash: Callable[[], None] = lambda: None

    def crash(self) -> None:
        """Kill it; whoever calls this in it raises Crashed next."""
        if not self.dead:
            self.dead = True
            self.on_crash()


OUTSIDE = Process("outside")
"""Whatever is no process of the service: the network, the callers."""


@dataclass(eq=False)
class Turn:
    """Somebody who waits until `at` (ms), or until the condition holds, and how to carry on then."""

    process: Process
    at: float
    go: Callable[[], None]
    early: Condition | None = None

    def due(self, now: float) -> float:
        """From when on it may carry on: in the past, or now, if it could at once."""
        if self.process.dead:
            return now
        at = now if self.early is not None and self.early() else self.at
        return max(at, self.process.frozen_until)


class Turns:
    """Hands out the turns. `choose` picks among those who may go on; `on_time` is told of milliseconds."""

    def __init__(
        self,
        choose: Callable[[list[Turn]], Turn] = lambda ready: ready[0],
        on_time: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.now = 0
        self.signals: Counter[str] = Counter()
        self.failures: list[BaseException] = []
        self.posted = 0
        self.running: Thread | None = None
        self.hub = getcurrent()
        self._choose = choose
        self._on_time = on_time
        self._waiting: list[Turn] = []
        self._threads: list[Thread] = []
        self.loop = TurnsLoop(self)
        self._loops_turn = Turn(OUTSIDE, math.inf, self.loop.run_until_idle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End every thread and every task where it stands."""
        for thread in self._threads:
            thread.process.dead = True
        while lingering := [turn for turn in self._waiting if turn.process.dead]:
            self._waiting.remove(lingering[0])
            lingering[0].go()
        self.loop.end()

    def start(self, process: Process, target: Callable[[], object]) -> "Thread":
        """A thread of the process, which begins when its turn comes."""
        thread = Thread(self, process, target)
        self._threads.append(thread)
        self._waiting.append(Turn(process, self.now, thread.resume))
        return thread

    def post(self, delay_ms: float, action: Callable[[], object]) -> None:
        """Have something done from outside, later."""

        def go() -> None:
            self.posted -= 1
            action()
            self.loop.run_until_idle()

        self.posted += 1
        self._waiting.append(Turn(OUTSIDE, self.now + delay_ms, go))

    def wait(self, milliseconds: float = 0, early: Condition | None = None) -> None:
        """Let others go first. In a thread of a process; raises Crashed when it was killed meanwhile."""
        thread = self.running
        assert thread is not None, "only a thread of a process can wait"
        self._waiting.append(Turn(thread.process, self.now + milliseconds, thread.resume, early))
        thread.give_way()

    async def wait_async(
        self, process: Process, milliseconds: float = 0, early: Condition | None = None
    ) -> None:
        """The same for a task of the process."""
        future = self.loop.create_future()

        def go() -> None:
            if not future.done():
                future.set_result(None)
            self.loop.run_until_idle()

        self._waiting.append(Turn(process, self.now + milliseconds, go, early))
        await future
        if process.dead:
            raise Crashed

    def run(self, until: Condition, within_ms: int) -> None:
        """Hand out turns until the condition holds; fails when it does not in time."""
        end = self.now + within_ms
        self.loop.run_until_idle()
        while not until():
            assert self.now < end, f"still not there after {within_ms} ms"
            self._hand_out(end)

    def run_for(self, milliseconds: int) -> None:
        """Hand out turns for that long."""
        end = self.now + milliseconds
        self.loop.run_until_idle()
        while self.now < end:
            self._hand_out(end)

    def _hand_out(self, end: int) -> None:
        """The next turn, or time passes until there is one, at most to the end."""
        now = self.now
        self._loops_turn.at = self.loop.due
        ready, soonest = [], math.inf
        for turn in (*self._waiting, self._loops_turn):
            due = turn.due(now)
            if due <= now:
                ready.append(turn)
            elif due < soonest:
                soonest = due
        if ready:
            self._go(self._choose(ready))
        else:
            self.pass_time(math.ceil(min(end, soonest)) - now)

    def pass_time(self, milliseconds: int) -> None:
        """Move the clock."""
        self.now += milliseconds
        self._on_time(milliseconds)

    def _go(self, turn: Turn) -> None:
        if turn in self._waiting:
            self._waiting.remove(turn)
        turn.go()
        if self.failures:
            raise self.failures[0]


class Thread:
    """A thread of a process: a greenlet, which runs until it gives way."""

    def __init__(self, turns: Turns, process: Process, target: Callable[[], object]) -> None:
        self.process = process
        self.ended = False
        self._turns = turns
        self._target = target
        self._greenlet = greenlet(self._run, turns.hub)

    def resume(self) -> None:
        """Called by the one who hands out turns: let it run until it gives way."""
        self._turns.running = self
        self._greenlet.switch()
        self._turns.running = None

    def give_way(self) -> None:
        """Called by the thread itself, once it has put itself among those who wait."""
        self._turns.hub.switch()
        if self.process.dead:
            raise Crashed

    def _run(self) -> None:
        try:
            if not self.process.dead:
                self._target()
        except Crashed:
            pass
        except BaseException as error:
            self._turns.failures.append(error)
        finally:
            self.ended = True


class TurnsLoop(asyncio.SelectorEventLoop):
    """An event loop on the clock of turns. `due` is when its next timer is (ms)."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._quiet = _IdleSelector(self)
        super().__init__(self._quiet)
        self.due: float = math.inf
        self.set_exception_handler(self._on_exception)

    def time(self) -> float:
        return self._turns.now / 1000

    @contextmanager
    def exchanging(self) -> Iterator[None]:
        """While the block runs something is on its way to a real server, and must be waited for."""
        self._quiet.exchanges += 1
        try:
            yield
        finally:
            self._quiet.exchanges -= 1

    def run_until_idle(self) -> None:
        """Carry on all tasks until each one waits for a timer or a turn."""
        if not self.is_closed():
            self.run_forever()

    def complete(self, work: Coroutine[Any, Any, T]) -> T:
        """Run to its end what takes no turns."""
        with self.exchanging():
            return self.run_until_complete(work)

    def idle(self, timeout: float | None) -> None:
        self.due = math.inf if timeout is None else self._turns.now + timeout * 1000
        self.stop()

    def end(self) -> None:
        tasks = asyncio.all_tasks(self)
        while tasks := {task for task in tasks if not task.done()}:
            for task in tasks:
                task.cancel()
            self.run_until_idle()
        self.complete(self.shutdown_default_executor())
        self.close()

    def _on_exception(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A task whose process was killed leaves an exception that nobody asks for."""
        error = context.get("exception")
        if not isinstance(error, Crashed):
            self._turns.failures.append(error or AssertionError(context["message"]))


class _IdleSelector(selectors.DefaultSelector):
    """Tells its loop when there is nothing to do now, instead of waiting for time to pass."""

    def __init__(self, loop: TurnsLoop) -> None:
        super().__init__()
        self.exchanges = 0
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        if (timeout is None or timeout > 0) and not self.exchanges:
            self._loop.idle(timeout)
            timeout = 0
        return super().select(timeout)


class _Semaphore:
    def __init__(self, turns: Turns, value: int = 1) -> None:
        self._turns = turns
        self._value = value

    def acquire(self, timeout: float = math.inf) -> bool:
        if not self._value:
            self._turns.wait(timeout * 1000, lambda: self._value > 0)
        if not self._value:
            return False
        self._value -= 1
        return True

    def release(self) -> None:
        self._value += 1

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class _Event:
    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._set = False

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True

    def clear(self) -> None:
        self._set = False

    def wait(self, timeout: float) -> bool:
        self._turns.wait(timeout * 1000, self.is_set)
        return self._set


class _Threads:
    """What stands in for the modules `threading`, `time` and `os` in the code of a process."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def Lock(self) -> _Semaphore:  # noqa: N802
        return _Semaphore(self._turns)

    def Semaphore(self, value: int) -> _Semaphore:  # noqa: N802
        return _Semaphore(self._turns, value)

    def Event(self) -> _Event:  # noqa: N802
        return _Event(self._turns)

    def Thread(self, *, target: Callable[[], object], **_: object) -> "_Startable":  # noqa: N802
        return _Startable(self._turns, target)

    def monotonic(self) -> float:
        return self._turns.now / 1000

    def sleep(self, seconds: float) -> None:
        self._turns.wait(seconds * 1000)

    def _exit(self, _code: int) -> None:
        assert self._turns.running is not None
        self._turns.running.process.crash()
        raise Crashed


class _Startable:
    def __init__(self, turns: Turns, target: Callable[[], object]) -> None:
        self._turns = turns
        self._target = target
        self._thread: Thread | None = None

    def start(self) -> None:
        assert self._turns.running is not None
        self._thread = self._turns.start(self._turns.running.process, self._target)

    def join(self, timeout: float) -> None:
        thread = self._thread
        assert thread is not None
        self._turns.wait(timeout * 1000, lambda: thread.ended)


@contextmanager
def taking_turns(turns: Turns) -> Iterator[None]:
    """While the block runs, workers live by these turns: their threads, their clock, their end."""
    threads = _Threads(turns)
    with pytest.MonkeyPatch.context() as patch, turns:
        for module, names in (
            (broker, ("threading",)),
            (consumer, ("threading", "time")),
            (ownership, ("threading", "time", "os")),
            (execution, ("time",)),
        ):
            for name in names:
                patch.setattr(module, name, threads)
        patch.setattr(execution, "random", Random(0))
        yield
