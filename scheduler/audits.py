"""The audits: a task for each partition, one for the whole store and one for retention, every interval."""

import logging

from app.queueing.audit_broker import encode_task
from app.services.audits import AuditTask, Work
from app.services.schedule import Schedule, Slot, Task
from scheduler.jobs import Interval

_log = logging.getLogger(__name__)


class AuditJob:
    """Queues the tasks of each slot. One whose last is not done yet is left out: it makes up for both."""

    def __init__(self, schedule: Schedule, *, partitions: int, interval_ms: int) -> None:
        self._schedule = schedule
        self._interval = Interval("audit", interval_ms)
        self._tasks = [AuditTask(work=Work.PARTITION, partition=each) for each in range(partitions)]
        self._tasks += [AuditTask(work=Work.STORE), AuditTask(work=Work.RETENTION)]

    def __call__(self, epoch: int) -> bool:
        """Queue what is due now, if anything is; False when another scheduler leads."""
        now, last = self._schedule.last_slot(self._interval.job)
        slot = self._interval.due(now, last)
        if slot is None:
            return True
        if slot.missed:
            _log.warning("%d slots of %s were missed, one makes up for them", slot.missed, slot.job)
        tasks = [_task(slot, each) for each in self._tasks]
        return self._schedule.dispatch(epoch, slot, tasks) is not None


def _task(slot: Slot, task: AuditTask) -> Task:
    about = f"{task.partition:03d}" if task.work is Work.PARTITION else task.work
    return Task(
        stream=None,
        name=f"{slot.job}|{about}",
        place=f"{slot.time:015d}",
        message=encode_task(task, f"{slot.job}-{slot.time}-{about}"),
    )
