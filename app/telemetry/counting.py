"""Wrappers that count: around the store, the command bus, the worker and the requests of front ends.

What was wrapped behaves as before. What a worker counts is what its commits have written: each command once,
with the answer that went out, however often it was delivered or decided.
"""

import time
from typing import Any

from dramatiq import Broker, MessageProxy
from dramatiq.middleware import Middleware

from app.domain.commands import Command
from app.domain.outcomes import Answer, Outcome
from app.domain.reservations import EXPIRED
from app.domain.state import State
from app.services.changes import Changes
from app.services.faults import BalanceFault, StoreRefused
from app.services.ports import CommitResult, Store, Wanted
from app.services.submission import DEFAULT_TIMEOUT_MS, CommandBus
from app.services.watching import UNWATCHED, Begun, Watch
from app.services.work import Delivery, Unit, Work
from app.telemetry import catalogue
from app.telemetry.metrics import Metrics, Stopwatch

UNREADABLE = "unreadable"
"""The operation of a command that cannot be understood."""


class CountingStore:
    """A Store that counts what its commits have written."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics

    def load(self, wanted: Wanted, state: State) -> int:
        """See Store."""
        return self._store.load(wanted, state)

    def commit(self, changes: Changes, deliveries: list[Delivery], now: int) -> CommitResult:
        """See Store."""
        count = self._metrics.of
        try:
            result = self._store.commit(changes, deliveries, now)
        except BalanceFault as fault:
            count(catalogue.COMMITS, "refused" if isinstance(fault, StoreRefused) else "unknown").inc()
            raise
        if result.lost:
            count(catalogue.COMMITS, "fenced").inc()
        if result.conflict:
            count(catalogue.COMMITS, "conflict").inc()
        if result.applied:
            count(catalogue.COMMITS, "applied").inc()
            expired = sum(each.status == EXPIRED for each in changes.reservations.values())
            if expired:
                count(catalogue.EXPIRED).inc(expired)
            # What was loaded as it is written back: frozen in between, by the load itself.
            if frozen := sum(each.before is each.after for each in changes.accounts.values()):
                count(catalogue.FROZEN).inc(frozen)
            self._answered([delivery for delivery in deliveries if delivery.finished], now)
        return result

    def mark_trying(self, work: Work) -> int | None:
        """See Store."""
        return self._store.mark_trying(work)

    def _answered(self, deliveries: list[Delivery], now: int) -> None:
        count = self._metrics.of
        tally: dict[tuple[str, Outcome], int] = {}
        for delivery in deliveries:
            count(catalogue.QUEUE_WAIT, delivery.lane).observe(max(now - delivery.arrived_at, 0) / 1000)
            if delivery.careful:
                count(catalogue.REDELIVERIES).inc()
            for work in delivery.works:
                if work.answer is None:
                    continue
                kind = work.request.command.kind if work.request else UNREADABLE
                ended = kind, work.answer.outcome
                tally[ended] = tally.get(ended, 0) + 1
                if work.answer.replayed:
                    count(catalogue.REPLAYS, kind).inc()
        for (kind, outcome), times in tally.items():
            count(catalogue.OPERATIONS, kind, outcome.value).inc(times)
        for lane in {delivery.lane for delivery in deliveries}:
            count(catalogue.MESSAGES, lane).inc(sum(each.lane == lane for each in deliveries))
        if tally:
            count(catalogue.COMMIT_COMMANDS).observe(sum(tally.values()))


class UnitMeter(Middleware):
    """Dramatiq middleware: how long units take, and what is left in the queue to be taken again."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._began = Stopwatch()

    def before_process_message(self, _broker: Broker, _message: MessageProxy) -> None:
        """A unit begins; a worker has one in hand at a time."""
        self._began = Stopwatch()

    def after_process_message(
        self,
        _broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """A unit ended, carried out or not."""
        self._metrics.of(catalogue.UNIT_SECONDS).observe(self._began.seconds)
        unit = message.args[0]
        if isinstance(unit, Unit) and unit.abandoned:
            left = sum(not (delivery.finished or delivery.lost) for delivery in unit.deliveries)
            self._metrics.of(catalogue.REDELIVERIES).inc(left)


class CountingBus:
    """A CommandBus that times its answers and counts what gets none."""

    def __init__(self, bus: CommandBus, metrics: Metrics) -> None:
        self._bus = bus
        self._metrics = metrics

    def admit(self) -> None:
        """See CommandBus."""
        self._bus.admit()

    @property
    def paused(self) -> bool:
        """See CommandBus."""
        return self._bus.paused

    async def execute(
        self,
        command: Command,
        *,
        key: str = "",
        timeout_ms: int = DEFAULT_TIMEOUT_MS,
        trace: str = "",
        by_ops: bool = False,
    ) -> Answer:
        """See CommandBus. There is no await before the wrapped bus's own."""
        began = time.perf_counter()
        try:
            return await self._bus.execute(
                command, key=key, timeout_ms=timeout_ms, trace=trace, by_ops=by_ops
            )
        except BalanceFault as fault:
            self._metrics.of(catalogue.BUS_REFUSALS, type(fault).__name__).inc()
            raise
        finally:
            self._metrics.of(catalogue.LATENCY, command.kind).observe(time.perf_counter() - began)


class RequestMeter:
    """A Watch that times requests, and lets another watch them too."""

    def __init__(self, metrics: Metrics, then: Watch = UNWATCHED) -> None:
        self.wants_trace = then.wants_trace
        self._metrics = metrics
        self._then = then

    def begin(self, front_end: str, traceparent: str = "") -> Begun:
        """See Watch."""
        described = catalogue.GRPC_SECONDS if front_end == "grpc" else catalogue.HTTP_SECONDS
        return _Timed(self._metrics, described, self._then.begin(front_end, traceparent))


class _Timed:
    __slots__ = ("_began", "_described", "_metrics", "_then")

    def __init__(self, metrics: Metrics, described: catalogue.Described, then: Begun) -> None:
        self._metrics = metrics
        self._described = described
        self._then = then
        self._began = time.perf_counter()

    def end(self, method: str, status: str) -> None:
        seconds = time.perf_counter() - self._began
        self._metrics.of(self._described, method, status).observe(seconds)
        self._then.end(method, status)
