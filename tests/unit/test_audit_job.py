"""When audits are due, and what the scheduler queues then; on the in-memory twin."""

import json
from datetime import UTC, datetime, timedelta

import dramatiq
import pytest
from freezegun import freeze_time

from app.queueing.audit_broker import decode_task, encode_task
from app.services.audits import AuditTask, Work
from app.storage import keys
from app.storage.backends.memory import MemoryBackend, MemoryServer
from app.storage.schedule import StoreSchedule
from scheduler.audits import AuditJob

PARTITIONS = 4
MINUTE_MS = 60_000
LEASE_MS = 10**12
NOON = datetime(2024, 5, 1, 12, 0, 3, tzinfo=UTC)


class Desk:
    """A scheduler that leads, and the queue of audits."""

    def __init__(self) -> None:
        self.server = MemoryServer(now=ms(NOON))
        self.backend = MemoryBackend(self.server)
        self.epoch = self.backend.lead("anna", LEASE_MS)[1]
        self.job = self.another()

    def another(self) -> AuditJob:
        """The job as one more scheduler would have it."""
        schedule = StoreSchedule(MemoryBackend(self.server))
        return AuditJob(schedule, partitions=PARTITIONS, interval_ms=MINUTE_MS)

    def queued(self) -> list[AuditTask]:
        """The tasks that wait."""
        stream = self.server.value(keys.AUDIT_QUEUE)
        entries = [stream.entries[each] for each in stream.order] if stream else []
        return [decode_task(dramatiq.Message.decode(each.payload).args[0]) for each in entries]

    def work_off(self, count: int) -> None:
        """Auditors have done the first of them."""
        stream = self.server.value(keys.AUDIT_QUEUE)
        for place in stream.order[:count]:
            del stream.entries[place], stream.fields[place]
        del stream.order[:count]


ALL = [
    *(AuditTask(work=Work.PARTITION, partition=each) for each in range(PARTITIONS)),
    AuditTask(work=Work.STORE),
    AuditTask(work=Work.RETENTION),
]


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def test_each_slot_has_a_task_for_each_partition_for_the_store_and_for_retention() -> None:
    """Once, whoever looks how often."""
    desk = Desk()
    assert desk.job(desk.epoch)
    assert desk.job(desk.epoch)
    assert desk.another()(desk.epoch)
    assert desk.queued() == ALL


def test_a_task_that_still_waits_is_not_queued_again() -> None:
    """
    Given tasks of which the first three are done when the next slot comes
    Expect those three queued again, and no heap of the others, however many slots go by.
    """
    desk = Desk()
    desk.job(desk.epoch)
    desk.work_off(3)
    for _ in range(5):
        desk.server.now += MINUTE_MS
        assert desk.job(desk.epoch)
    assert sorted(desk.queued(), key=str) == sorted(ALL, key=str)


def test_an_hour_of_looks_queues_each_slot_once() -> None:
    """Whatever the pace of the looks; auditors are done long before the next slot."""
    desk, slots = Desk(), 0
    with freeze_time(NOON) as clock:
        while ms(datetime.now(UTC)) < ms(NOON) + 3_600_000:
            desk.server.now = ms(datetime.now(UTC))
            assert desk.job(desk.epoch)
            if queued := desk.queued():
                assert queued == ALL
                slots += 1
                desk.work_off(len(ALL))
            clock.tick(timedelta(milliseconds=4_370))
    assert slots == 60
    assert desk.server.value(keys.SCHEDULER)["missed|audit"] == b"0"


def test_slots_without_a_scheduler_are_counted_and_made_up_for_once() -> None:
    """An hour without anybody who leads: one task of each, and 59 slots missed."""
    desk = Desk()
    desk.job(desk.epoch)
    desk.work_off(len(ALL))
    desk.server.now += 60 * MINUTE_MS
    assert desk.job(desk.epoch)
    assert desk.queued() == ALL
    assert desk.server.value(keys.SCHEDULER)["missed|audit"] == b"59"


def test_who_does_not_lead_any_more_queues_nothing() -> None:
    """The epoch is compared where the tasks are written."""
    desk = Desk()
    assert desk.job(desk.epoch + 1) is False
    assert desk.queued() == []


def test_a_task_of_another_release_is_refused() -> None:
    """It is not guessed; the next interval brings one that is known."""
    text = encode_task(AuditTask(work=Work.STORE), "id")
    task = json.loads(text)["args"][0]
    assert decode_task(task) == AuditTask(work=Work.STORE)
    with pytest.raises(ValueError, match="version 2"):
        decode_task({**task, "v": 2})
    with pytest.raises(ValueError, match="work"):
        decode_task({**task, "work": "dance"})
