"""The hand: which messages make a unit of work, in which order, and how much at once."""

from collections.abc import Iterator
from itertools import count, islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.commands import EnsureAccount
from app.queueing.envelope import encode_message, seal
from app.queueing.hand import START, Hand
from app.queueing.limits import (
    ALONE_COST,
    CAREFUL_COMMANDS,
    MESSAGE_COMMANDS,
    UNIT_ACCOUNTS,
    UNIT_COMMANDS,
)
from app.queueing.ownership import Owned
from app.services.queue import Entry, Lane, Lease, Stream
from app.services.work import Unit
from tests.support.carrying import PARTITIONS, ids_in

FAST, BULK = Lane.INTERACTIVE, Lane.BULK
ARRIVED_AT = 1_000


def owned(*partitions: int, epoch: int = 1, careful_until: int = 0, last_time: int = 0) -> dict[int, Owned]:
    """These partitions, as Ownership tells them; after an unclean takeover `careful_until` is its time."""
    return {
        each: Owned(Lease(each, epoch, clean=not careful_until, last_time=last_time), careful_until)
        for each in partitions
    }


def hand_of(*partitions: int, careful_until: int = 0) -> Hand:
    """A hand that holds nothing of these partitions yet."""
    hand = Hand(PARTITIONS)
    hand.sync(owned(*partitions, careful_until=careful_until))
    return hand


class Queues:
    """Streams as the store keeps them; a message is known by its name."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._accounts = {partition: ids_in(partition) for partition in range(PARTITIONS)}
        self.entries: dict[Stream, list[Entry]] = {}

    def put(
        self,
        name: str,
        partition: int,
        lane: Lane = FAST,
        *,
        commands: int = 1,
        accounts: int = 1,
        at: int = ARRIVED_AT,
    ) -> None:
        """Append a message of so many commands, dealt to so many accounts that no other message touches."""
        touched = list(islice(self._accounts[partition], accounts))
        envelopes = [
            seal(EnsureAccount(account_id=touched[index % accounts]), key="", command_id="", remaining_ms=0)
            for index in range(commands)
        ]
        entry = Entry(f"{at}-{next(self._numbers)}", encode_message(envelopes, name).encode())
        self.entries.setdefault((partition, lane), []).append(entry)

    def fill(self, hand: Hand) -> None:
        """Let the hand take in all that is behind its cursors."""
        found = {
            stream: [
                entry for entry in self.entries.get(stream, ()) if _sorts(entry.entry_id) > _sorts(cursor)
            ]
            for stream, cursor in hand.cursors().items()
        }
        hand.take_in({stream: entries for stream, entries in found.items() if entries})


def _sorts(entry_id: str) -> tuple[int, ...]:
    return tuple(map(int, entry_id.split("-")))


def names(unit: Unit | None) -> list[str]:
    return [delivery.message_id for delivery in unit.deliveries] if unit else []


def units(hand: Hand) -> Iterator[list[str]]:
    """The names of the messages in each unit, until the hand is empty."""
    while unit := hand.next_unit():
        yield names(unit)


@pytest.fixture
def queues() -> Queues:
    return Queues()


# Units


def test_an_empty_hand_makes_no_unit() -> None:
    hand = hand_of(0, 1)
    assert hand.empty
    assert hand.next_unit() is None


def test_what_waits_makes_one_unit(queues: Queues) -> None:
    """A lone command does not wait for company."""
    queues.put("a", 0)
    hand = hand_of(0, 1)
    queues.fill(hand)
    assert not hand.empty
    assert list(units(hand)) == [["a"]]
    assert hand.empty


def test_callers_that_wait_come_before_jobs_that_can(queues: Queues) -> None:
    """
    Given messages in both lanes of two partitions
    Expect all interactive ones in the first unit, and exactly one bulk message, so that jobs move too.
    """
    for partition in (0, 1):
        for number in (1, 2):
            queues.put(f"bulk {partition}.{number}", partition, BULK)
            queues.put(f"fast {partition}.{number}", partition)
    hand = hand_of(0, 1)
    queues.fill(hand)
    first, *rest = units(hand)
    assert first == ["fast 0.1", "fast 1.1", "fast 0.2", "fast 1.2", "bulk 0.1"]
    assert sorted(name for unit in rest for name in unit) == ["bulk 0.2", "bulk 1.1", "bulk 1.2"]


def test_a_bulk_message_comes_even_where_callers_fill_the_unit(queues: Queues) -> None:
    """A steady stream of callers must not starve a payout job."""
    for number in range(6):
        queues.put(f"fast {number}", 0, commands=MESSAGE_COMMANDS)
    queues.put("bulk", 1, BULK, commands=MESSAGE_COMMANDS)
    hand = hand_of(0, 1)
    queues.fill(hand)
    assert next(units(hand)) == ["fast 0", "fast 1", "fast 2", "fast 3", "bulk"]


def test_jobs_alone_share_a_unit_that_no_caller_has_to_wait_long_for(queues: Queues) -> None:
    """Nobody waits for them; but who comes while they are carried out waits for no more than one message."""
    for number, commands in enumerate((1, 1, 1, MESSAGE_COMMANDS, 1)):
        queues.put(f"bulk {number}", 0, BULK, commands=commands)
    hand = hand_of(0)
    queues.fill(hand)
    assert list(units(hand)) == [["bulk 0", "bulk 1", "bulk 2"], ["bulk 3"], ["bulk 4"]]


def test_a_unit_touches_no_more_accounts_than_one_load_may(queues: Queues) -> None:
    """Messages are taken whole: the one that does not fit begins the next unit."""
    for number in range(5):
        queues.put(f"m{number}", 0, commands=100, accounts=100)
    hand = hand_of(0)
    queues.fill(hand)
    assert UNIT_ACCOUNTS // 100 == 2
    assert list(units(hand)) == [["m0", "m1"], ["m2", "m3"], ["m4"]]


def test_a_unit_carries_no_more_commands_than_one_commit_may(queues: Queues) -> None:
    """A hot account touches one account with any number of commands."""
    whole = UNIT_COMMANDS // MESSAGE_COMMANDS
    for number in range(whole + 1):
        queues.put(f"m{number}", 0, commands=MESSAGE_COMMANDS)
    hand = hand_of(0)
    queues.fill(hand)
    assert [len(unit) for unit in units(hand)] == [whole, 1]


def test_an_account_in_two_messages_counts_once() -> None:
    """What is loaded once costs once."""
    queues, hand = Queues(), hand_of(0)
    for number in range(4):
        queues._accounts[0] = ids_in(0)  # the same 100 accounts in every message
        queues.put(f"m{number}", 0, commands=100, accounts=100)
    queues.fill(hand)
    assert list(units(hand)) == [["m0", "m1", "m2", "m3"]]


def test_poison_needs_no_accounts_and_keeps_its_place(queues: Queues) -> None:
    """What cannot be read is parked in the order of its queue, by the unit it became part of."""
    queues.put("a", 0)
    queues.entries[0, FAST].append(Entry(f"{ARRIVED_AT}-50", b"no message"))
    hand = hand_of(0)
    queues.fill(hand)
    unit = hand.next_unit()
    assert unit is not None
    assert [bool(work.parking_reason) for each in unit.deliveries for work in each.works] == [False, True]


# Fairness


def test_partitions_take_turns_within_a_unit(queues: Queues) -> None:
    """One message of each before a second one of any."""
    for number in (1, 2):
        for partition in (0, 1, 2):
            queues.put(f"{partition}.{number}", partition)
    hand = hand_of(0, 1, 2)
    queues.fill(hand)
    (unit,) = units(hand)
    assert unit == ["0.1", "1.1", "2.1", "0.2", "1.2", "2.2"]


def test_partitions_take_turns_at_being_first(queues: Queues) -> None:
    """
    Given three partitions that always have work, of which a unit holds two messages
    Expect that each gets the same share.
    """
    hand = hand_of(0, 1, 2)
    for number in range(12):
        for partition in (0, 1, 2):
            queues.put(f"{partition}.{number}", partition, commands=100, accounts=100)
    queues.fill(hand)
    served = [name.partition(".")[0] for _ in range(9) for name in names(hand.next_unit())]
    assert {partition: served.count(partition) for partition in "012"} == {"0": 6, "1": 6, "2": 6}


@settings(deadline=None)
@given(data=st.data())
def test_every_message_comes_once_in_the_order_of_its_queue(data: st.DataObject) -> None:
    """
    Given any messages in any queues
    Expect each in exactly one unit, in its queue's order, within the budgets, callers first.
    """
    queues, hand = Queues(), hand_of(0, 1, 2)
    shapes = st.tuples(
        st.integers(0, 2),
        st.sampled_from(Lane),
        st.integers(1, MESSAGE_COMMANDS),
        st.integers(1, MESSAGE_COMMANDS),
    )
    put: dict[Stream, list[str]] = {}
    for number, (partition, lane, commands, accounts) in enumerate(data.draw(st.lists(shapes, max_size=12))):
        queues.put(f"m{number}", partition, lane, commands=commands, accounts=min(accounts, commands))
        put.setdefault((partition, lane), []).append(f"m{number}")
    queues.fill(hand)
    came: dict[Stream, list[str]] = {}
    while unit := hand.next_unit():
        lanes = [delivery.lane for delivery in unit.deliveries]
        assert lanes == sorted(lanes, key=lambda lane: lane != FAST)
        assert FAST not in lanes or lanes.count(BULK) <= 1
        main = [each for each in unit.deliveries if each.lane == lanes[0]]
        touched = {work.request.aggregate_id for each in main for work in each.works if work.request}
        assert len(main) == 1 or len(touched) <= UNIT_ACCOUNTS
        assert len(main) == 1 or sum(len(each.works) for each in main) <= UNIT_COMMANDS
        for each in unit.deliveries:
            came.setdefault((each.partition, Lane(each.lane)), []).append(each.message_id)
    assert came == put


# Reading on


def test_reading_goes_on_only_where_nothing_is_in_hand(queues: Queues) -> None:
    """So a queue that is ahead does not fill the memory, and the others are looked at meanwhile."""
    for number in range(5):
        queues.put(f"m{number}", 0, commands=100, accounts=100)
    hand = hand_of(0, 1)
    assert hand.cursors() == dict.fromkeys([(0, FAST), (0, BULK), (1, FAST), (1, BULK)], START)
    queues.fill(hand)
    assert hand.cursors().keys() == {(0, BULK), (1, FAST), (1, BULK)}
    assert len(list(units(hand))) == 3
    assert hand.cursors()[0, FAST] == f"{ARRIVED_AT}-5", "behind what was taken"


def test_what_is_not_ours_is_not_taken_in(queues: Queues) -> None:
    """It may have been read before the partition was handed over."""
    queues.put("a", 1)
    hand = hand_of(0)
    hand.take_in(dict(queues.entries))
    assert hand.empty


def test_a_rewind_begins_every_queue_again(queues: Queues) -> None:
    """What was taken and not committed is still in its queue: it comes again, before the rest."""
    queues.put("a", 0)
    queues.put("b", 0)
    hand = hand_of(0)
    queues.fill(hand)
    assert names(hand.next_unit()) == ["a", "b"]
    queues.put("c", 0)
    hand.rewind()
    assert hand.empty
    queues.fill(hand)
    assert list(units(hand)) == [["a", "b", "c"]]


# Coming and going of partitions


def test_a_partition_that_comes_is_read_from_its_beginning_beside_the_others(queues: Queues) -> None:
    for partition in (0, 1):
        queues.put(f"{partition}", partition)
    hand = hand_of(0)
    queues.fill(hand)
    hand.sync(owned(0, 1))
    assert hand.cursors()[1, FAST] == START
    queues.fill(hand)
    assert list(units(hand)) == [["0", "1"]]


def test_a_partition_that_goes_takes_with_it_what_was_in_hand(queues: Queues) -> None:
    """Its next owner reads it from the queue."""
    for partition in (0, 1):
        queues.put(f"{partition}", partition)
    hand = hand_of(0, 1)
    queues.fill(hand)
    hand.sync(owned(1))
    assert {partition for partition, _ in hand.cursors()} == {1}
    assert list(units(hand)) == [["1"]]


def test_a_partition_with_a_new_epoch_begins_anew(queues: Queues) -> None:
    """Somebody else may have had it in between; deliveries carry the epoch under which they are committed."""
    queues.put("a", 0)
    hand = hand_of(0)
    queues.fill(hand)
    hand.sync(owned(0, epoch=3, last_time=77))
    assert hand.empty
    queues.fill(hand)
    unit = hand.next_unit()
    assert unit is not None
    (delivery,) = unit.deliveries
    assert (delivery.epoch, delivery.not_before) == (3, 77)


# Care


def test_after_an_unclean_takeover_what_was_found_runs_alone(queues: Queues) -> None:
    """What came later cannot have killed the former owner."""
    queues.put("found", 0, at=999)
    queues.put("found too", 0, at=1_000)
    queues.put("later", 0, at=1_001)
    hand = hand_of(0, careful_until=1_000)
    queues.fill(hand)
    found = []
    while unit := hand.next_unit():
        found.append([(each.message_id, each.careful) for each in unit.deliveries])
    assert found == [[("found", True)], [("found too", True)], [("later", False)]]


def test_only_one_careful_message_of_a_queue_is_in_a_unit(queues: Queues) -> None:
    """Its commands run behind all others of the unit: a second one's must not overtake them."""
    for partition in (0, 1):
        for number in (1, 2):
            queues.put(f"{partition}.{number}", partition)
    hand = hand_of(0, 1, careful_until=ARRIVED_AT)
    queues.fill(hand)
    assert [sorted(unit) for unit in units(hand)] == [["0.1", "1.1"], ["0.2", "1.2"]]


def test_commands_that_run_alone_count_for_more(queues: Queues) -> None:
    """Each has a mark and a commit of its own, and a unit must end long before it counts as stuck."""
    alone = UNIT_COMMANDS // ALONE_COST // 2
    for partition in (0, 1, 2):
        queues.put(f"{partition}", partition, commands=alone)
    hand = hand_of(0, 1, 2, careful_until=ARRIVED_AT)
    queues.fill(hand)
    assert [len(unit) for unit in units(hand)] == [2, 1]


def careful_messages(hand: Hand) -> list[bool]:
    found = []
    while unit := hand.next_unit():
        found += [delivery.careful for delivery in unit.deliveries]
    return found


def test_care_ends_where_the_former_owner_cannot_have_been(queues: Queues) -> None:
    """It had at most a unit and a message of a lane in hand; the backlog behind that runs at full speed."""
    messages = CAREFUL_COMMANDS // MESSAGE_COMMANDS
    for number in range(messages + 3):
        queues.put(f"m{number}", 0, commands=MESSAGE_COMMANDS)
    hand = hand_of(0, careful_until=ARRIVED_AT)
    queues.fill(hand)
    assert careful_messages(hand) == [True] * messages + [False] * 3


def test_a_rewind_makes_nothing_less_careful(queues: Queues) -> None:
    """
    Given a backlog that must run alone
    If the store goes away again and again before anything is committed
    Expect that the same messages still run alone.
    """
    messages = CAREFUL_COMMANDS // MESSAGE_COMMANDS
    for number in range(messages):
        queues.put(f"m{number}", 0, commands=MESSAGE_COMMANDS)
    hand = hand_of(0, careful_until=ARRIVED_AT)
    for _ in range(3):
        queues.fill(hand)
        assert careful_messages(hand) == [True] * messages
        hand.rewind()
