"""The broker of audit tasks: one at a time, out of the queue when done, left there when the store is away."""

import pytest
from dramatiq.broker import Consumer, MessageProxy
from dramatiq.errors import QueueNotFound

from app.queueing.audit_broker import AUDIT_ACTOR_NAME, AUDIT_QUEUE_NAME, AuditBroker, encode_task
from app.services.audits import AuditTask, Work
from app.services.faults import StoreRefused, StoreUnavailable
from app.services.queue import Entry
from workers.auditor import declare_audits

TASK = AuditTask(work=Work.PARTITION, partition=3)


class ListedQueue:
    """A queue in a list. `away` makes it a store that is not there."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.finished: list[str] = []
        self.given_back: list[str] = []
        self.away = False

    def put(self, payload: str) -> None:
        self.entries.append(Entry(f"{len(self.entries) + 1}-0", payload.encode()))

    def take(self, block_ms: int) -> Entry | None:
        if self.away:
            raise StoreUnavailable("away")
        return self.entries.pop(0) if self.entries else None

    def done(self, entry_id: str) -> None:
        if self.away:
            raise StoreUnavailable("away")
        self.finished.append(entry_id)

    def give_back(self, entry_id: str) -> None:
        self.given_back.append(entry_id)

    def close(self) -> None:
        """Nothing is open."""


class Audits:
    """Notes the tasks; fails when told to."""

    def __init__(self) -> None:
        self.done: list[AuditTask] = []
        self.fault: Exception | None = None

    def carry_out(self, task: AuditTask) -> None:
        if self.fault:
            raise self.fault
        self.done.append(task)


class Desk:
    """An auditor without its threads."""

    def __init__(self) -> None:
        self.queue, self.audits, self.checks = ListedQueue(), Audits(), 0
        self.broker = AuditBroker(lambda: self.queue, self._check)
        self.actor = declare_audits(self.broker, self.audits)
        self.consumer: Consumer = self.broker.consume(AUDIT_QUEUE_NAME)

    def _check(self) -> None:
        self.checks += 1

    def next(self) -> MessageProxy | None:
        return next(self.consumer)

    def work(self) -> None:
        """Take the next task and do it, as Dramatiq's worker does."""
        message = self.next()
        assert message is not None
        self.actor(*message.args)
        self.consumer.ack(message)


def test_a_task_is_carried_out_and_leaves_the_queue() -> None:
    desk = Desk()
    desk.queue.put(encode_task(TASK, "m"))
    desk.work()
    assert desk.audits.done == [TASK]
    assert desk.queue.finished == ["1-0"]
    assert desk.next() is None


def test_the_next_task_is_taken_when_the_one_in_hand_is_done() -> None:
    """An auditor holds no more than it does: another may be free."""
    desk = Desk()
    for _ in range(2):
        desk.queue.put(encode_task(TASK, "m"))
    first = desk.next()
    assert first is not None
    assert desk.next() is None
    desk.consumer.ack(first)
    assert desk.next() is not None


def test_a_task_that_the_store_has_ended_stays_in_the_queue() -> None:
    """
    Given a store that goes away in the middle of a task
    Expect the task left, the store looked at again, and the next task done and taken out.
    """
    desk = Desk()
    for _ in range(2):
        desk.queue.put(encode_task(TASK, "m"))
    desk.audits.fault = StoreUnavailable("away")
    desk.work()
    assert desk.queue.finished == []
    desk.audits.fault = None
    desk.work()
    assert desk.queue.finished == ["2-0"]
    assert desk.checks == 2


def test_a_task_that_cannot_be_done_is_told_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """The next interval brings the same: it must not stand before the others."""
    desk = Desk()
    desk.queue.put(encode_task(TASK, "m"))
    desk.audits.fault = StoreRefused("a record cannot be read")
    desk.work()
    assert desk.queue.finished == ["1-0"]
    assert any("ALARM an audit cannot be done" in line for line in caplog.messages)


def test_what_is_no_task_is_told_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    desk.queue.put("nonsense")
    assert desk.next() is None
    assert desk.queue.finished == ["1-0"]
    assert any("ALARM an audit task cannot be read" in line for line in caplog.messages)


def test_a_queue_that_is_away_is_looked_at_again() -> None:
    """Nothing is raised: Dramatiq would make a new consumer for it."""
    desk = Desk()
    desk.queue.put(encode_task(TASK, "m"))
    desk.queue.away = True
    assert desk.next() is None
    desk.queue.away = False
    message = desk.next()
    assert message is not None
    desk.queue.away = True
    desk.consumer.ack(message)
    assert desk.queue.finished == []


def test_what_was_not_begun_is_given_back() -> None:
    desk = Desk()
    desk.queue.put(encode_task(TASK, "m"))
    message = desk.next()
    assert message is not None
    desk.consumer.requeue([message])
    assert desk.queue.given_back == ["1-0"]


def test_only_the_scheduler_queues_and_only_this_queue_is_there() -> None:
    desk = Desk()
    with pytest.raises(ValueError, match="scheduler"):
        desk.actor.send({})
    with pytest.raises(QueueNotFound):
        desk.broker.declare_queue("balance")
    with pytest.raises(QueueNotFound):
        desk.broker.consume("balance")
    assert desk.actor.actor_name == AUDIT_ACTOR_NAME


def test_a_broker_that_is_closed_takes_no_task() -> None:
    desk = Desk()
    desk.queue.put(encode_task(TASK, "m"))
    desk.broker.close()
    assert desk.next() is None
    assert len(desk.queue.entries) == 1
