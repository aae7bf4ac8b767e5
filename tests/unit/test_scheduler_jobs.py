"""When a job is due, and what the expiry of reservations queues then; carried out on the in-memory twin."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from freezegun import freeze_time

from app.domain.accounts import FROZEN
from app.domain.commands import EnsureAccount, Release, Reserve
from app.domain.reservations import EXPIRED, Reservation
from app.domain.state import State
from app.queueing.limits import EXPIRY_HOLDS
from app.services.ports import Wanted
from app.services.queue import Lane
from app.storage import keys
from app.storage.backends.memory import MemoryBackend
from app.storage.schedule import StoreSchedule
from app.storage.store import BalanceStore
from scheduler.jobs import Interval, ReservationExpiry
from tests.support.holds import HOLDS_OF_AN_ACCOUNT, SECONDS, accounts_for, messages
from tests.support.scene import ALICE, PARTITIONS, Owner, Scene, reservation_id, sealed

INTERVAL_MS = 5_000
LEASE_MS = 10**9
FIVE = Interval("expire", INTERVAL_MS)


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


@pytest.mark.parametrize(
    ("now", "last", "slot", "missed"),
    [
        (4_999, 0, None, 0),
        (5_000, 0, 5_000, 0),
        (9_999, 5_000, None, 0),
        (10_000, 5_000, 10_000, 0),
        (12_345, 5_000, 10_000, 0),
        (15_000, 5_000, 15_000, 1),
        (3_605_001, 5_000, 3_605_000, 719),
        (3_605_001, 0, 3_605_000, 0),
        (10_000, 15_000, None, 0),
        (20_000, 12_000, 20_000, 0),
        (21_000, 9_000, 20_000, 1),
    ],
    ids=[
        "before the first",
        "the first",
        "just done",
        "the next, on time",
        "the next, late",
        "one missed",
        "an hour missed",
        "never done before: nothing was missed",
        "the store's clock was set back",
        "the interval was another one",
        "the interval was another one, and one was missed",
    ],
)
def test_a_slot_is_due_once_and_the_latest_stands_for_all_missed(
    now: int, last: int, slot: int | None, missed: int
) -> None:
    """Slots are multiples of the interval on the store's clock, the same for every scheduler."""
    due = FIVE.due(now, last)
    assert (due and due.time, due.missed if due else 0) == (slot, missed)


def test_an_hour_of_looks_does_each_slot_once() -> None:
    """Whatever the pace of the looks, and wherever in the interval they begin."""
    with freeze_time(datetime(2024, 5, 1, 12, 0, 3, tzinfo=UTC)) as clock:
        begin, last, done = ms(datetime.now(UTC)), 0, []
        while ms(datetime.now(UTC)) < begin + 3_600_000:
            if slot := FIVE.due(ms(datetime.now(UTC)), last):
                done.append(slot)
                last = slot.time
            clock.tick(timedelta(milliseconds=437))
    assert [slot.time for slot in done] == list(range(done[0].time, done[-1].time + 1, INTERVAL_MS))
    assert len(done) == 721
    assert {slot.missed for slot in done} == {0}


class Desk:
    """A scheduler that leads on a scene with a worker, and holds that are past their time."""

    def __init__(self) -> None:
        self.scene = Scene()
        self.worker: Owner = self.scene.owner()
        self.backend = MemoryBackend(self.scene.server)
        self.epoch = self.backend.lead("anna", LEASE_MS)[1]
        self.expiry = self.another()
        self.scene.server.now += INTERVAL_MS

    def another(self) -> ReservationExpiry:
        """The job as one more scheduler would have it."""
        return ReservationExpiry(
            StoreSchedule(MemoryBackend(self.scene.server)), partitions=PARTITIONS, interval_ms=INTERVAL_MS
        )

    def hold(self, partition: int, holds: int) -> None:
        """Make holds and let their time pass."""
        for _, text in messages(partition, holds):
            self.scene.send_text(partition, text)
        self.worker.work()
        self.pass_ms(SECONDS * 1_000)

    def pass_ms(self, milliseconds: int) -> None:
        self.scene.server.now += milliseconds

    def fire(self) -> None:
        """Let the next slot come, and the scheduler look."""
        self.pass_ms(INTERVAL_MS)
        assert self.expiry(self.epoch)

    def queued(self, partition: int) -> list[list[str]]:
        """The reservations named by each message in the partition's bulk queue."""
        return [
            [each["payload"]["reservationId"] for each in message["args"][0]]
            for message in self.messages(partition)
        ]

    def messages(self, partition: int) -> Iterator[dict[str, Any]]:
        stream = self.scene.server.value(keys.queue(partition, Lane.BULK))
        for place in stream.order if stream else ():
            yield json.loads(stream.entries[place].payload)

    def due(self, partition: int) -> int:
        """How many holds the partition's index has."""
        return len(self.scene.server.value(keys.reservation_expiry(partition)) or ())

    def reservations(self, partition: int, holds: int) -> list[Reservation]:
        ids = {
            reservation_id(account_id, f"hold-{number}")
            for account_id in accounts_for(partition, holds)
            for number in range(HOLDS_OF_AN_ACCOUNT)
        }
        state = State()
        BalanceStore(self.backend, PARTITIONS, 1).load(Wanted(reservations=ids), state)
        return [each for each in state.reservations.values() if each]

    def noted(self, field: str) -> int:
        return int(self.scene.hash_of(keys.SCHEDULER).get(field, 0))


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_holds_past_their_time_become_expired(desk: Desk) -> None:
    """Each with its event and its count; the chips are free, the index is empty and the books are right."""
    desk.hold(0, 3)
    desk.hold(2, 1)
    desk.fire()
    desk.worker.work()
    for partition, holds in ((0, 3), (2, 1)):
        found = desk.reservations(partition, holds)
        assert [each.status for each in found] == [EXPIRED] * holds
        assert {each.released_at for each in found} == {desk.scene.server.now}
        assert desk.due(partition) == 0
        (account_id,) = accounts_for(partition, holds)
        assert desk.scene.account(account_id).reserved == 0
        assert desk.scene.hash_of(keys.totals(partition))["expired"] == b"%d" % holds
        events = desk.scene.server.value(keys.events(partition))
        told = [events.entries[place].payload.decode() for place in events.order][-holds:]
        assert sorted(told) == sorted(f"{each.account_id}|{each.reservation_id}" for each in found)
    desk.scene.audit()


def test_a_hold_that_is_not_past_its_time_is_left(desk: Desk) -> None:
    """Not even its message is made."""
    desk.hold(0, 2)
    desk.pass_ms(-SECONDS * 1_000 - INTERVAL_MS - 1)
    desk.fire()
    assert desk.queued(0) == []
    assert desk.noted("slot|expire") > 0


def test_a_hold_that_ended_meanwhile_stays_as_it_ended(desk: Desk) -> None:
    """Given a hold that another command passed over while its message waited. Expect it expired once."""
    desk.hold(0, 1)
    (hold,) = desk.reservations(0, 1)
    desk.fire()
    desk.scene.send(sealed(Release(reservation_id=hold.reservation_id)))  # callers come first
    desk.worker.work()
    (ended,) = desk.reservations(0, 1)
    assert (ended.status, desk.queued(0)) == (EXPIRED, [])
    assert desk.scene.hash_of(keys.totals(0))["expired"] == b"1"


def test_a_message_says_which_slot_and_partition_it_is(desk: Desk) -> None:
    """The same slot gives the same ids, whoever fires it."""
    desk.hold(3, 1)
    desk.fire()
    (message,) = desk.messages(3)
    slot = desk.noted("slot|expire")
    assert message["message_id"] == f"expire-{slot}-1-003"
    assert message["args"][0][0]["commandId"] == f"expire-{slot}-1-003-0"
    assert "replyTo" not in message["args"][0][0]


def test_a_slot_is_fired_once_by_however_many(desk: Desk) -> None:
    """Looks within the interval do nothing more, not from another scheduler under the same epoch either."""
    desk.hold(0, 1)
    desk.fire()
    for expiry in (desk.expiry, desk.another()):
        desk.pass_ms(10)
        assert expiry(desk.epoch)
    assert len(desk.queued(0)) == 1


def test_a_paused_leader_that_wakes_up_late_does_no_harm(desk: Desk) -> None:
    """Given holds due, and another leader since. Expect its slot refused, by the store."""
    desk.hold(0, 1)
    desk.backend.resign("anna")
    epoch = desk.backend.lead("bert", LEASE_MS)[1]
    desk.pass_ms(INTERVAL_MS)
    assert not desk.expiry(desk.epoch)
    assert desk.queued(0) == []
    assert desk.another()(epoch)
    assert len(desk.queued(0)) == 1


def test_a_gap_is_made_up_once_and_counted(desk: Desk) -> None:
    """Given no leader for an hour. Expect one message, the holds expired, and 719 slots missed."""
    desk.fire()
    desk.hold(0, 1)
    desk.pass_ms(3_600_000 - INTERVAL_MS - SECONDS * 1_000)
    desk.fire()
    assert len(desk.queued(0)) == 1
    assert desk.noted("missed|expire") == 719
    desk.worker.work()
    assert desk.due(0) == 0


def test_more_than_one_message_takes_follows_when_that_is_worked_off(desk: Desk) -> None:
    """Not before, and long before the next slot; each hold in one message."""
    holds = 2 * EXPIRY_HOLDS + 30
    desk.hold(0, holds)
    desk.hold(1, 1)
    desk.fire()
    sizes, seen = [], set()
    while desk.due(0):
        for _ in range(3):
            assert desk.expiry(desk.epoch)
            (ids,) = desk.queued(0)
        sizes.append(len(ids))
        seen.update(ids)
        desk.worker.work()
        assert desk.expiry(desk.epoch)
    assert sizes == [EXPIRY_HOLDS, EXPIRY_HOLDS, 30]
    assert len(seen) == holds
    assert desk.noted("slot|expire") == desk.scene.server.now // INTERVAL_MS * INTERVAL_MS
    assert [each.status for each in desk.reservations(0, holds)] == [EXPIRED] * holds


def test_workers_that_are_away_leave_no_heap(desk: Desk) -> None:
    """
    Given workers that are away for minutes
    Expect one message a partition; and when they are back, it is dropped, being older than an interval, and
    the next one does the work.
    """
    desk.hold(0, EXPIRY_HOLDS + 50)
    for _ in range(60):
        desk.fire()
        desk.expiry(desk.epoch)
    assert len(desk.queued(0)) == 1
    desk.worker.work()
    assert desk.due(0) == EXPIRY_HOLDS + 50, "its message was good for one interval"
    while desk.due(0):
        desk.fire()
        desk.worker.work()
    assert desk.noted("missed|expire") == 0


def test_holds_that_cannot_be_expired_never_stand_before_the_others(desk: Desk) -> None:
    """
    Given frozen accounts with more holds than two messages take, all of them older
    Expect the others expired all the same, in the same slot.
    """
    frozen = 2 * EXPIRY_HOLDS + 3
    desk.hold(0, frozen)
    index = desk.scene.server.value(keys.reservation_expiry(0))
    for account_id in accounts_for(0, frozen):
        desk.scene.hash_of(keys.account(0, account_id))["status"] = FROZEN.encode()
    for name in index:
        index[name] -= 1
    reserve = Reserve(account_id=ALICE, table_id="t", amount=1, timeout_seconds=SECONDS)
    desk.scene.send(sealed(EnsureAccount(account_id=ALICE, initial_balance=7)))
    desk.scene.send(*(sealed(reserve, f"hold-{number}") for number in range(7)))
    desk.worker.work()
    assert desk.due(0) == frozen + 7
    desk.fire()
    for _ in range(6):
        desk.worker.work()
        assert desk.expiry(desk.epoch)
    assert desk.due(0) == frozen


def test_what_is_no_reservation_of_the_partition_is_not_sent(desk: Desk) -> None:
    """A stray entry in the index would be parked as a dead letter in each slot; an audit finds it."""
    desk.hold(0, 1)
    index = desk.scene.server.value(keys.reservation_expiry(0))
    index |= {"": 1, "nonsense": 2, "001-" + "a" * 26: 3}
    desk.fire()
    assert [len(ids) for ids in desk.queued(0)] == [1]
    desk.worker.work()
    assert desk.due(0) == 3
    assert desk.scene.dead_letters(0) == []


def test_what_is_left_of_a_lead_is_not_carried_into_the_next(desk: Desk) -> None:
    """
    Given more due than one message takes
    If the lead was lost, and won again
    Expect no further go of that slot, and the rest in the next one.
    """
    desk.hold(0, EXPIRY_HOLDS + 1)
    desk.fire()
    desk.worker.work()
    desk.backend.resign("anna")
    desk.backend.lead("bert", LEASE_MS)
    desk.backend.resign("bert")
    desk.epoch = desk.backend.lead("anna", LEASE_MS)[1]
    assert desk.expiry(desk.epoch)
    assert desk.queued(0) == []
    desk.fire()
    assert [len(ids) for ids in desk.queued(0)] == [1]
