"""The jobs: when each is due, and the tasks that it queues. Workers carry them out."""

import logging
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from app.domain.commands import ExpireReservation
from app.domain.identifiers import partition_in
from app.queueing.envelope import encode_message, seal
from app.queueing.limits import EXPIRY_HOLDS, EXPIRY_LOOKS
from app.services.queue import Lane
from app.services.schedule import Schedule, Slot, Task

_log = logging.getLogger(__name__)


class Interval(NamedTuple):
    """The slots of a job: whole multiples of an interval, on the store's clock (ms)."""

    job: str
    milliseconds: int

    def due(self, now: int, last: int) -> Slot | None:
        """The slot to be done now, where `last` was the last one done; the latest stands for all missed."""
        time = now - now % self.milliseconds
        if time <= last:
            return None
        return Slot(self.job, time, max((time - last) // self.milliseconds - 1, 0) if last else 0)


@dataclass(slots=True)
class _Due:
    """What one partition has due in the present slot.

    `tried` were queued in it; `stuck` are those that were due all the same when last looked at: they wait in
    the queue, or a frozen account keeps them. They are passed over, and so never stand before the others.
    """

    partition: int
    tried: set[str] = field(default_factory=set)
    stuck: int = 0
    goes: int = 0
    more: bool = False

    @property
    def most(self) -> int:
        """How many to look at: those of one message, and whether there are more."""
        return self.stuck + 2 * EXPIRY_HOLDS

    def choose(self, found: list[str]) -> list[str]:
        """Those of the next message."""
        fresh = [each for each in found if each not in self.tried and partition_in(each) == self.partition]
        self.more = len(found) >= self.most or len(fresh) > EXPIRY_HOLDS
        self.stuck = len(found) - len(fresh)
        self.goes += 1
        return fresh[:EXPIRY_HOLDS]


class ReservationExpiry:
    """The holds past their time become EXPIRED, by commands to their partitions: every interval, and then on
    while a partition has more than one message takes.

    One message of a partition is on its way at a time, good for one interval. It goes to the bulk lane: at
    most, a caller waits for the one in hand and for one in its own unit.
    """

    def __init__(self, schedule: Schedule, *, partitions: int, interval_ms: int) -> None:
        self._schedule = schedule
        self._partitions = partitions
        self._interval = Interval("expire", interval_ms)
        self._epoch = 0
        self._slot = Slot(self._interval.job, 0)
        self._turns: deque[_Due] = deque()

    def __call__(self, epoch: int) -> bool:
        """Queue what is due now, if anything is; False when another scheduler leads."""
        if epoch != self._epoch:  # what was left undone when we led before is due in the next slot again
            self._epoch = epoch
            self._turns.clear()
        now, last = self._schedule.last_slot(self._interval.job)
        slot = self._interval.due(now, last)
        if slot is not None:
            if slot.missed:
                _log.warning("%d slots of %s were missed, one makes up for them", slot.missed, slot.job)
            self._slot = slot
            self._turns.clear()
            return self._go(now, [_Due(partition) for partition in range(self._partitions)])
        looks = min(len(self._turns), EXPIRY_LOOKS)
        return not looks or self._go(now, [self._turns.popleft() for _ in range(looks)])

    def _go(self, now: int, partitions: list[_Due]) -> bool:
        """Queue one message for each of these that has holds due; who has more comes again."""
        found = self._schedule.due_holds(now, {each.partition: each.most for each in partitions})
        chosen = [(due, ids) for due in partitions if (ids := due.choose(found[due.partition]))]
        tasks = [self._task(due, ids) for due, ids in chosen]
        queued = self._schedule.dispatch(self._epoch, self._slot, tasks)
        if queued is None:
            return False
        for index, (due, ids) in enumerate(chosen):
            if index in queued:
                due.tried.update(ids)
            else:
                due.more = True  # its last message is still there
        self._turns.extend(due for due in partitions if due.more)
        return True

    def _task(self, due: _Due, reservation_ids: list[str]) -> Task:
        job, time = self._slot.job, self._slot.time
        message_id = f"{job}-{time}-{due.goes}-{due.partition:03d}"
        envelopes = [
            seal(
                ExpireReservation(reservation_id=reservation_id),
                key="",
                command_id=f"{message_id}-{index}",
                remaining_ms=self._interval.milliseconds,
            )
            for index, reservation_id in enumerate(reservation_ids)
        ]
        return Task(
            stream=(due.partition, Lane.BULK),
            name=f"{job}|{due.partition:03d}",
            place=f"{time:015d}-{due.goes:05d}",
            message=encode_message(envelopes, message_id),
        )
