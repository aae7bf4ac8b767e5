"""Backend.lead, resign and dispatch: one leader at a time, told by epochs; no task twice, never a heap."""

import threading

import pytest

from app.services.faults import StoreRefused
from app.services.queue import Lane, Stream
from app.services.schedule import Slot, Task
from app.storage import keys
from app.storage.backend import Backend
from tests.support.grounds import Ground, plan_of, read, write

SHORT_MS = 300
LONG_MS = 60_000
STREAM: Stream = (0, Lane.BULK)
FIRST, SECOND = Slot("expire", 5_000), Slot("expire", 10_000)


def task(place: str, name: str = "expire|000", stream: Stream = STREAM) -> Task:
    return Task(stream, name, place, f"message {place}")


def queued(backend: Backend, stream: Stream = STREAM) -> list[bytes]:
    """The messages that wait in a queue."""
    return [entry.payload for entry in backend.take({stream: "0-0"}, 100, 0).get(stream, [])]


def work_off(backend: Backend, stream: Stream = STREAM) -> None:
    """Remove what waits, as a worker's commit does."""
    entries = backend.take({stream: "0-0"}, 100, 0)[stream]
    write(backend, ("XDEL", keys.queue(*stream), *(entry.entry_id for entry in entries)))


def noted(backend: Backend, *fields: str) -> list[str]:
    """What the scheduler's hash has in these fields."""
    (found,) = read(backend, ("HMGET", keys.SCHEDULER, *fields))
    return [(value or b"").decode() for value in found]


def test_the_lead_is_free_until_somebody_takes_it(ground: Ground) -> None:
    """Epochs begin at 1; with the lead comes the server's time."""
    anna, bert = ground.backend(), ground.backend()
    before, _ = anna.read(plan_of())
    now, epoch = anna.lead("anna", LONG_MS)
    assert before <= now <= before + 10_000
    assert epoch == 1
    assert bert.lead("bert", LONG_MS)[1] == 0
    assert noted(anna, "leader", "epoch", "since", "until") == ["anna", "1", str(now), str(now + LONG_MS)]


def test_the_leader_keeps_the_lead_and_its_epoch(ground: Ground) -> None:
    """The lease is counted from the last look, and the lead from the first one."""
    anna, bert = ground.backend(), ground.backend()
    since, _ = anna.lead("anna", SHORT_MS)
    assert anna.lead("anna", LONG_MS)[1] == 1
    ground.pass_time(SHORT_MS)
    assert bert.lead("bert", LONG_MS)[1] == 0
    assert noted(anna, "since") == [str(since)]


def test_a_lapsed_lead_is_taken_over_and_not_before(ground: Ground) -> None:
    """A dead leader is replaced when its lease is over."""
    anna, bert = ground.backend(), ground.backend()
    anna.lead("anna", SHORT_MS)
    assert bert.lead("bert", LONG_MS)[1] == 0
    ground.pass_time(SHORT_MS)
    assert bert.lead("bert", LONG_MS)[1] == 2
    assert anna.lead("anna", LONG_MS)[1] == 0


def test_a_clock_that_is_set_back_keeps_no_dead_leader(ground: Ground) -> None:
    """Given a lead of before, which ends later than any of now. Expect it to be over when one of now is."""
    anna, bert = ground.backend(), ground.backend()
    anna.lead("anna", LONG_MS)
    assert bert.lead("bert", SHORT_MS)[1] == 0
    ground.pass_time(SHORT_MS)
    assert bert.lead("bert", LONG_MS)[1] == 2


def test_a_lead_that_lapsed_untaken_goes_on(ground: Ground) -> None:
    """Nobody else has led meanwhile, so nothing has to begin anew."""
    anna = ground.backend()
    anna.lead("anna", SHORT_MS)
    ground.pass_time(SHORT_MS)
    assert anna.lead("anna", LONG_MS)[1] == 1


def test_who_resigns_is_followed_at_once(ground: Ground) -> None:
    """A clean stop keeps nobody waiting; who does not lead has nothing to give away."""
    anna, bert = ground.backend(), ground.backend()
    anna.lead("anna", LONG_MS)
    bert.resign("bert")
    assert bert.lead("bert", LONG_MS)[1] == 0
    anna.resign("anna")
    assert bert.lead("bert", LONG_MS)[1] == 2


def test_of_many_who_look_at_once_one_leads(ground: Ground) -> None:
    """Eight schedulers, one moment."""
    start = threading.Barrier(8)
    epochs: list[int] = []

    def look(name: str) -> None:
        backend = ground.backend()
        start.wait()
        epochs.append(backend.lead(name, LONG_MS)[1])

    schedulers = [threading.Thread(target=look, args=(f"scheduler-{number}",)) for number in range(8)]
    for scheduler in schedulers:
        scheduler.start()
    for scheduler in schedulers:
        scheduler.join()
    assert sorted(epochs) == [0] * 7 + [1]


def test_the_leader_queues_tasks_and_marks_the_slot(ground: Ground) -> None:
    """Each to its stream; what was missed before the slot is counted."""
    backend = ground.backend()
    backend.lead("anna", LONG_MS)
    other: Stream = (1, Lane.BULK)
    slot = Slot("expire", 10_000, missed=3)
    assert backend.dispatch(1, slot, [task("1"), task("1", "expire|001", other)]) == [0, 1]
    assert (queued(backend), queued(backend, other)) == ([b"message 1"], [b"message 1"])
    assert noted(backend, "slot|expire", "missed|expire") == ["10000", "3"]


def test_a_slot_without_tasks_is_marked_too(ground: Ground) -> None:
    """Nothing was due: that is known then, and is not looked for again."""
    backend = ground.backend()
    backend.lead("anna", LONG_MS)
    assert backend.dispatch(1, FIRST, []) == []
    assert noted(backend, "slot|expire") == ["5000"]


def test_a_slot_counts_once_and_never_goes_back(ground: Ground) -> None:
    """What was missed before it is not counted again with its further goes, nor by a late hand."""
    backend = ground.backend()
    backend.lead("anna", LONG_MS)
    for slot in (
        Slot("expire", 10_000, missed=2),
        Slot("expire", 10_000, missed=2),
        Slot("expire", 5_000, missed=7),
    ):
        backend.dispatch(1, slot, [])
    assert noted(backend, "slot|expire", "missed|expire") == ["10000", "2"]


def test_a_former_leader_changes_nothing(ground: Ground) -> None:
    """
    Given a leader that was paused until another one led
    If it dispatches the slot that it had in mind
    Expect a refusal, and not a byte of difference.
    """
    anna, bert = ground.backend(), ground.backend()
    anna.lead("anna", SHORT_MS)
    ground.pass_time(SHORT_MS)
    bert.lead("bert", LONG_MS)
    before = ground.dump()
    assert anna.dispatch(1, SECOND, [task("9")]) is None
    assert ground.dump() == before
    assert bert.dispatch(2, FIRST, [task("1")]) == [0]


def test_before_anyone_has_led_nothing_is_dispatched(ground: Ground) -> None:
    """An absent epoch is not 0."""
    assert ground.backend().dispatch(0, FIRST, [task("1")]) is None
    assert ground.dump() == {}


def test_a_slot_fired_twice_queues_its_task_once(ground: Ground) -> None:
    """Also when the first message is already worked off: the place is what counts."""
    backend = ground.backend()
    backend.lead("anna", LONG_MS)
    assert backend.dispatch(1, FIRST, [task("1")]) == [0]
    assert backend.dispatch(1, FIRST, [task("1")]) == []
    work_off(backend)
    assert backend.dispatch(1, FIRST, [task("1")]) == []
    assert queued(backend) == []


def test_a_task_waits_for_the_one_before_it_to_be_worked_off(ground: Ground) -> None:
    """
    Given a task whose workers are away
    If slot after slot comes
    Expect one message in the queue, and the next one when it is gone; what others put there does not count.
    """
    backend = ground.backend()
    backend.lead("anna", LONG_MS)
    assert backend.dispatch(1, FIRST, [task("1")]) == [0]
    for place in ("2", "3", "4"):
        assert backend.dispatch(1, SECOND, [task(place)]) == []
    assert queued(backend) == [b"message 1"]
    work_off(backend)
    backend.append([(STREAM, "a payout")])
    assert backend.dispatch(1, SECOND, [task("5")]) == [0]
    assert queued(backend) == [b"a payout", b"message 5"]


def test_tasks_of_other_names_go_their_own_way(ground: Ground) -> None:
    """One that waits keeps no other from the same queue."""
    backend = ground.backend()
    backend.lead("anna", LONG_MS)
    backend.dispatch(1, FIRST, [task("1")])
    assert backend.dispatch(1, SECOND, [task("2"), task("2", "other|000")]) == [1]
    assert queued(backend) == [b"message 1", b"message 2"]


def test_a_queue_of_another_type_is_refused_before_anything_is_written(ground: Ground) -> None:
    """A function has no way back."""
    backend = ground.backend()
    backend.lead("anna", LONG_MS)
    write(backend, ("SET", keys.queue(1, "bulk"), "no stream"))
    before = ground.dump()
    with pytest.raises(StoreRefused):
        backend.dispatch(1, FIRST, [task("1"), task("1", "expire|001", (1, Lane.BULK))])
    assert ground.dump() == before


def test_what_is_due_is_found_by_time(ground: Ground) -> None:
    """Up to and with the moment, the oldest first, no more than asked for."""
    backend = ground.backend()
    index = keys.reservation_expiry(0)
    write(backend, *(("ZADD", index, at, f"r{at}") for at in (30, 10, 20, 21)))
    asked = [("ZRANGEBYSCORE", index, "-inf", now, "LIMIT", 0, 2) for now in (9, 10, 20, 99)]
    assert read(backend, *asked) == [[], [b"r10"], [b"r10", b"r20"], [b"r10", b"r20"]]
    (nothing,) = read(backend, ("ZRANGEBYSCORE", keys.reservation_expiry(1), "-inf", 99, "LIMIT", 0, 2))
    assert nothing == []
