"""Faults at the ports: every step to the server may fail, lose its reply, come late or twice, or be the last.

A wrapper passes everything on to the port it wraps; the steps are counted while they are made.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from enum import StrEnum, auto
from random import Random
from typing import NamedTuple, TypeVar

from app.services.faults import BalanceFault, StoreUnavailable, Unavailable
from app.services.queue import CommandLog, Entry, Lease, Stream
from app.services.schedule import Slot, Task
from app.storage.backend import Backend, Reply
from app.storage.plan import Plan
from tests.support.turns import Crashed, Process, Turns

T = TypeVar("T")


class Fault(StrEnum):
    """What can become of one step."""

    FAIL = auto()  # the connection breaks before anything was done; the process cannot know
    LOSE_REPLY = auto()  # it breaks after all was done; the process cannot know
    LATE = auto()  # it breaks, and what was sent is carried out only later
    TWICE = auto()  # it is sent again and carried out again; the second reply counts
    DELAY = auto()  # this one step takes long, the rest of the process goes on
    FREEZE = auto()  # the whole process stands still before the step, then goes on as if nothing had been
    CRASH_BEFORE = auto()
    CRASH_AFTER = auto()
    UNSENT = auto()  # certainly not done, and the process knows; of appends by front ends only


class Kind(NamedTuple):
    """A kind of step: which part of a process makes it, and the method of the port."""

    component: str
    method: str


class Step(NamedTuple):
    """The n-th step of its kind, from 1."""

    component: str
    method: str
    number: int


WRITES = frozenset({"commit", "mark", "acquire", "renew", "release", "append", "lead", "resign", "dispatch"})
_ONLY_OF_WRITES = frozenset({Fault.LOSE_REPLY, Fault.LATE, Fault.TWICE, Fault.CRASH_AFTER})


def possible(kind: Kind) -> list[Fault]:
    """The faults that make a difference: of a step that writes nothing, only whether its reply comes."""
    faults: list[Fault] = [fault for fault in Fault if fault is not Fault.UNSENT]
    if kind.method not in WRITES:
        faults = [fault for fault in faults if fault not in _ONLY_OF_WRITES]
    if kind == ("front end", "append"):
        faults.append(Fault.UNSENT)
    return faults


class FaultPlan:
    """Which fault each step meets. `steps` counts all steps by kind, `met` are the faults so far."""

    def __init__(
        self, at: Mapping[Step, Fault] | None = None, *, wait_ms: int = 3_000, late_ms: int = 30
    ) -> None:
        self.steps: Counter[Kind] = Counter()
        self.met: list[tuple[Step, Fault]] = []
        self._at = at or {}
        self._wait_ms = wait_ms
        self._late_ms = late_ms

    def next(self, component: str, method: str) -> Fault | None:
        """Count a step; the fault that it meets."""
        kind = Kind(component, method)
        number = self.steps[kind] + 1
        self.steps[kind] = number
        step = Step(component, method, number)
        fault = self._choose(step)
        if fault is not None:
            self.met.append((step, fault))
        return fault

    def wait_ms(self) -> int:
        """How long the next DELAY or FREEZE takes."""
        return self._wait_ms

    def late_ms(self) -> int:
        """How late the next LATE step is."""
        return self._late_ms

    def _choose(self, step: Step) -> Fault | None:
        return self._at.get(step)


# A step of these meets a fault as often as so many others: they are where something can go wrong.
_WEIGHTS = {"commit": 8, "mark": 8, "append": 4, "acquire": 3, "release": 3, "read": 2}


class RandomFaults(FaultPlan):
    """About one step in `every` meets a fault, until there were `most`; every third one is a FREEZE."""

    def __init__(self, rng: Random, *, every: int, most: int) -> None:
        super().__init__()
        self._rng = rng
        self._every = every
        self._most = most

    def wait_ms(self) -> int:
        return self._rng.choice((5, 100, 1_000, 2_500, 2_500, 11_000))

    def late_ms(self) -> int:
        return self._rng.choice((1, 5, 30, 500, 3_000))

    def _choose(self, step: Step) -> Fault | None:
        weight = _WEIGHTS.get(step.method, 1)
        if len(self.met) >= self._most or self._rng.random() * self._every > weight:
            return None
        faults = possible(Kind(step.component, step.method))
        return self._rng.choice((Fault.FREEZE, *self._rng.choices(faults, k=2)))


class _Course(NamedTuple):
    """How often a step is sent, and how it ends for the process."""

    sent: int = 1
    ends_with: Callable[[], BaseException] | None = None


def _lost() -> StoreUnavailable:
    return StoreUnavailable("the connection broke")


_COURSES: Mapping[Fault | None, _Course] = {
    Fault.FAIL: _Course(0, _lost),
    Fault.LOSE_REPLY: _Course(1, _lost),
    Fault.LATE: _Course(0, _lost),
    Fault.TWICE: _Course(2),
    Fault.CRASH_BEFORE: _Course(0, Crashed),
    Fault.CRASH_AFTER: _Course(1, Crashed),
    Fault.UNSENT: _Course(0, lambda: Unavailable("nothing was sent")),
}


class Line:
    """The line of one component of a process to the server."""

    def __init__(self, turns: Turns, process: Process, component: str, plan: FaultPlan) -> None:
        self.turns = turns
        self.process = process
        self._component = component
        self._plan = plan

    def step(self, method: str, send: Callable[[], T]) -> T:
        """Make one step, with the fault that is planned for it.

        Others may take a turn before it, and before the reply to a write arrives.
        """
        fault = self._begin(method)
        self.turns.wait(self._pause(fault))
        sent, ends_with = _COURSES.get(fault, _Course())
        if fault is Fault.LATE:
            self.turns.post(self._plan.late_ms(), lambda: self._attempt(method, send))
        if ends_with is not None:
            for _ in range(sent):
                self._attempt(method, send)
            self._end(ends_with())
        for _ in range(sent - 1):
            self._attempt(method, send)
        try:
            return send()
        finally:
            self._sent(method)
            if method in WRITES:
                self.turns.wait()

    async def step_async(self, method: str, send: Callable[[], Awaitable[T]]) -> T:
        """The same for a task."""
        fault = self._begin(method)
        await self.turns.wait_async(self.process, self._pause(fault))
        sent, ends_with = _COURSES.get(fault, _Course())
        if fault is Fault.LATE:
            late = lambda: self.turns.loop.create_task(self._attempt_async(method, send))  # noqa: E731
            self.turns.post(self._plan.late_ms(), late)
        if ends_with is not None:
            for _ in range(sent):
                await self._attempt_async(method, send)
            self._end(ends_with())
        for _ in range(sent - 1):
            await self._attempt_async(method, send)
        try:
            with self.turns.loop.exchanging():
                return await send()
        finally:
            self._sent(method)
            if method in WRITES:
                await self.turns.wait_async(self.process)

    def _begin(self, method: str) -> Fault | None:
        if self.process.dead:
            raise Crashed
        return self._plan.next(self._component, method)

    def _pause(self, fault: Fault | None) -> int:
        """How long to wait before the step is made (ms)."""
        self.turns.pass_time(1)
        if fault not in (Fault.DELAY, Fault.FREEZE):
            return 0
        wait_ms = self._plan.wait_ms()
        if fault is Fault.FREEZE:
            self.process.frozen_until = self.turns.now + wait_ms
        return wait_ms

    def _attempt(self, method: str, send: Callable[[], object]) -> None:
        with suppress(BalanceFault):
            send()
        self._sent(method)

    async def _attempt_async(self, method: str, send: Callable[[], Awaitable[object]]) -> None:
        with suppress(BalanceFault), self.turns.loop.exchanging():
            await send()
        self._sent(method)

    def _sent(self, method: str) -> None:
        self.turns.signals[method] += 1

    def _end(self, error: BaseException) -> None:
        if isinstance(error, Crashed):
            self.process.crash()
        raise error


class FaultyBackend:
    """A Backend whose steps take turns and meet faults. Blocking reads wait on the clock of turns."""

    def __init__(
        self, backend: Backend, line: Line, on_append: Callable[[list[tuple[Stream, str]]], None]
    ) -> None:
        self._backend = backend
        self._line = line
        self._on_append = on_append

    @property
    def commits(self) -> int:
        return self._backend.commits

    @commits.setter
    def commits(self, commits: int) -> None:
        self._backend.commits = commits

    def read(self, plan: Plan) -> tuple[int, list[Reply]]:
        return self._line.step("read", lambda: self._backend.read(plan))

    def commit(self, plan: Plan) -> list[int]:
        return self._line.step("commit", lambda: self._backend.commit(plan))

    def mark(self, partition: int, epoch: int, lane: str, place: str) -> int:
        return self._line.step("mark", lambda: self._backend.mark(partition, epoch, lane, place))

    def acquire(
        self, worker: str, partitions: list[int], lease_ms: int, most: int
    ) -> tuple[int, list[Lease]]:
        return self._line.step("acquire", lambda: self._backend.acquire(worker, partitions, lease_ms, most))

    def renew(self, worker: str, epochs: dict[int, int], lease_ms: int) -> tuple[list[int], list[str]]:
        return self._line.step("renew", lambda: self._backend.renew(worker, epochs, lease_ms))

    def release(self, worker: str, epochs: dict[int, int], *, leave: bool) -> None:
        self._line.step("release", lambda: self._backend.release(worker, epochs, leave=leave))

    def lead(self, name: str, lease_ms: int) -> tuple[int, int]:
        return self._line.step("lead", lambda: self._backend.lead(name, lease_ms))

    def resign(self, name: str) -> None:
        self._line.step("resign", lambda: self._backend.resign(name))

    def dispatch(self, epoch: int, slot: Slot, tasks: list[Task]) -> list[int] | None:
        return self._line.step("dispatch", lambda: self._backend.dispatch(epoch, slot, tasks))

    def append(self, messages: list[tuple[Stream, str]]) -> list[str]:
        def send() -> list[str]:
            entry_ids = self._backend.append(messages)
            self._on_append(messages)
            return entry_ids

        return self._line.step("append", send)

    def take(self, cursors: dict[Stream, str], count: int, block_ms: int) -> dict[Stream, list[Entry]]:
        seen = self._line.turns.signals["append"]
        found = self._line.step("take", lambda: self._backend.take(cursors, count, 0))
        if not found and block_ms:
            self._line.turns.wait(block_ms, lambda: self._line.turns.signals["append"] != seen)
            found = self._backend.take(cursors, count, 0)
        return found

    def close(self) -> None:
        """Nothing to do: connections are closed with the world."""


class FaultyCommandLog:
    """A CommandLog whose steps take turns and meet faults, waiting on the clock of turns."""

    def __init__(
        self, log: CommandLog, line: Line, on_append: Callable[[list[tuple[Stream, str]]], None]
    ) -> None:
        self._log = log
        self._line = line
        self._on_append = on_append

    async def append(self, messages: list[tuple[Stream, str]]) -> list[Unavailable | None]:
        async def send() -> list[Unavailable | None]:
            refusals = await self._log.append(messages)
            self._on_append(messages)
            return refusals

        return await self._line.step_async("append", send)

    async def has_room(self) -> bool:
        return await self._line.step_async("has_room", self._log.has_room)

    async def heed_ops(self, front_end: str) -> bool:
        return await self._line.step_async("heed_ops", lambda: self._log.heed_ops(front_end))

    async def results(self, front_end: str, cursor: str, block_ms: int) -> list[Entry]:
        async def look() -> list[Entry]:
            return await self._log.results(front_end, cursor, 0)

        turns = self._line.turns
        seen = turns.signals["commit"]
        found = await self._line.step_async("results", look)
        if not found and block_ms:
            await turns.wait_async(self._line.process, block_ms, lambda: turns.signals["commit"] != seen)
            with turns.loop.exchanging():
                found = await look()
        return found
