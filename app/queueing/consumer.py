"""The Dramatiq consumer: hands one unit of work at a time to the worker. Never raises, removes nothing."""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable

from dramatiq import Message
from dramatiq.broker import Consumer, MessageProxy

from app.queueing.hand import LANES, Hand
from app.queueing.limits import (
    ACTOR_NAME,
    BACKOFF_FIRST_SECONDS,
    BACKOFF_LAST_SECONDS,
    BULK_LOOK_SECONDS,
    MESSAGES_PER_READ,
    READ_BLOCK_MS,
    UNFIT_SECONDS,
)
from app.queueing.ownership import Ownership
from app.services.faults import BalanceFault, StoreUnfit
from app.services.queue import Lane, PartitionQueue
from app.services.stops import FaultWatch, StopBoard, StopKeeper
from app.services.work import Unit

_log = logging.getLogger(__name__)


class UnitProxy(MessageProxy):
    """The message that carries a unit to the actor, in memory only."""

    def __init__(self, queue_name: str, unit: Unit) -> None:
        super().__init__(
            Message(queue_name=queue_name, actor_name=ACTOR_NAME, args=(unit,), kwargs={}, options={})
        )
        self.unit = unit


class Desk:
    """What outlives a consumer, which Dramatiq makes anew after errors: slot, hand, leases, connection."""

    def __init__(
        self,
        connect: Callable[[], PartitionQueue],
        ownership: Ownership,
        partitions: int,
        check: Callable[[], None],
        watch: FaultWatch | None = None,
        board: StopBoard | None = None,
    ) -> None:
        watch = watch or FaultWatch()
        self.ownership = ownership
        self.hand = Hand(partitions, watch.stopped)
        self.stops = StopKeeper(watch, board, ownership.worker) if board else None
        self.queue = connect()
        self.check_store = check
        self.slot = threading.Semaphore(1)
        self.closing = threading.Event()
        self.suspect = True
        self.backoff = BACKOFF_FIRST_SECONDS
        self.callers_come = False
        self.bulk_due = 0.0


class StreamsConsumer(Consumer):
    """Iterates over units of work. `timeout_ms` is how long one look at the queues may take."""

    def __init__(self, desk: Desk, queue_name: str, timeout_ms: int) -> None:
        self._desk = desk
        self._queue_name = queue_name
        self._block_ms = min(timeout_ms, READ_BLOCK_MS)

    def __next__(self) -> UnitProxy | None:
        """The next unit, or None when there is none for now."""
        desk = self._desk
        if not desk.slot.acquire(timeout=self._block_ms / 1000):
            return None
        unit = None
        try:
            unit = self._next_unit()
            desk.ownership.looked()
            if unit is None:
                desk.backoff = BACKOFF_FIRST_SECONDS
        except StoreUnfit as unfit:
            _log.critical("ALARM %s", unfit)
            self._stay_away(UNFIT_SECONDS)
        except BalanceFault as fault:
            _log.warning("the queue cannot be read: %s", fault)
            self._back_off()
        except Exception:
            _log.exception("the consumer met a fault of ours")
            self._stay_away(BACKOFF_LAST_SECONDS)
        finally:
            if unit is None:
                desk.slot.release()
        if unit is None:
            return None
        desk.ownership.working(since=time.monotonic())
        return UnitProxy(self._queue_name, unit)

    def ack(self, message: MessageProxy) -> None:
        """Free the slot; the unit's commits have removed what they answered."""
        self._finish(message, again=isinstance(message, UnitProxy) and message.unit.abandoned)

    def nack(self, message: MessageProxy) -> None:
        """Free the slot; whatever was not committed is read again."""
        self._finish(message, again=True)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """A unit that was not begun is not in hand any more; all of it is still in its queues."""
        for _ in messages:
            self._desk.ownership.working(since=None)

    def close(self) -> None:
        """Nothing to close here: slot, hand and leases belong to the broker."""

    def _finish(self, message: MessageProxy, *, again: bool) -> None:
        desk = self._desk
        try:
            if again or message.failed:
                self._back_off()
            else:
                desk.backoff = BACKOFF_FIRST_SECONDS
        finally:
            desk.ownership.working(since=None)
            desk.slot.release()

    def _back_off(self) -> None:
        desk = self._desk
        self._stay_away(desk.backoff)
        desk.backoff = min(desk.backoff * 2, BACKOFF_LAST_SECONDS)

    def _stay_away(self, seconds: float) -> None:
        self._desk.suspect = True
        self._desk.closing.wait(seconds)

    def _next_unit(self) -> Unit | None:
        desk = self._desk
        if desk.closing.is_set():
            return None
        if desk.suspect:
            desk.queue.close()  # it may read on from a server that is a replica now
            desk.check_store()
            desk.hand.rewind()
            desk.suspect = False
        if desk.stops is not None:
            desk.stops.tend(time.monotonic())
        surplus = desk.ownership.surplus()
        if surplus is not None:
            desk.ownership.hand_over(desk.queue, [surplus])
        desk.ownership.changed.clear()
        owned = desk.ownership.owned()
        desk.hand.sync(owned)
        if not owned:
            desk.ownership.changed.wait(self._block_ms / 1000)
            return None
        self._read(wait=surplus is None)
        return desk.hand.next_unit()

    def _read(self, *, wait: bool) -> None:
        """Read on where nothing is in hand; wait only when there is nothing at all, nor more to hand over.

        While callers come, the bulk lane is left out but for a look now and then: each stream costs.
        """
        desk, now = self._desk, time.monotonic()
        block_ms = self._block_ms if wait and desk.hand.empty else 0
        lanes: Collection[Lane] = LANES
        if desk.callers_come and now < desk.bulk_due:
            lanes = (Lane.INTERACTIVE,)
            block_ms = min(block_ms, int((desk.bulk_due - now) * 1000) + 1)
        else:
            desk.bulk_due = now + BULK_LOOK_SECONDS
        cursors = desk.hand.cursors(lanes)
        if not cursors:  # every queue waits for a safety stop to end
            desk.closing.wait(block_ms / 1000)
        found = desk.queue.take(cursors, MESSAGES_PER_READ, block_ms)
        desk.callers_come = any(lane is Lane.INTERACTIVE for _, lane in found)
        desk.hand.take_in(found)
