"""The command bus of a front end on a real store: batches, deadlines, refusals, a store that goes away."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.bootstrap import open_front_end
from app.domain.commands import Commit
from app.domain.outcomes import Answer, Outcome
from app.queueing import limits
from app.queueing.bus import Bus
from app.services.faults import DeadlinePassed, Overloaded, Unavailable
from app.services.queue import Lane
from app.storage import keys
from tests.support.carrying import PARTITIONS, id_in
from tests.support.front_ends import FrontEnd, front_end, ledger_keys
from tests.support.store import RealStore
from tests.support.waiting import eventually, soon
from tests.support.workers import a_worker, settings_for, waiting

AT_ONCE_SECONDS = 0.25


@pytest.fixture
def own_store(tmp_path: Path) -> Iterator[RealStore]:
    """A store that a test may kill."""
    store = RealStore(tmp_path / "own")
    store.start().empty()
    yield store
    store.stop()


# Batches


def test_commands_that_come_together_travel_together(real_store: RealStore) -> None:
    """
    Given 64 calls for one account at one moment
    Expect one message, and each call answered with its own balance.
    """

    async def scenario() -> None:
        async with front_end(real_store) as front:
            calls = [front.deposit(f"k{number}") for number in range(64)]
            answers = await asyncio.gather(*calls)
        assert [answer.balance for answer in answers] == list(range(1, 65))
        assert front.log.sizes == [64]

    with a_worker(real_store):
        asyncio.run(scenario())


def test_batches_pace_themselves_and_keep_the_order_of_the_calls(real_store: RealStore) -> None:
    """
    Given calls that keep coming while messages are on their way
    Expect far fewer messages than calls, and the order of the calls in the ledger.
    """
    names = [f"k{number}" for number in range(300)]

    async def scenario() -> None:
        async with front_end(real_store) as front:
            calls = []
            for name in names:
                calls.append(front.deposit(name))
                await asyncio.sleep(0)
            await asyncio.gather(*calls)
        assert sum(front.log.sizes) == len(names)
        assert len(front.log.sizes) < len(names) / 4

    with a_worker(real_store):
        asyncio.run(scenario())
    assert ledger_keys(real_store.backend()) == names


def test_a_message_has_its_largest_size(real_store: RealStore) -> None:
    """What is beyond it is the next message, not a larger one."""

    async def scenario() -> None:
        async with front_end(real_store) as front:
            calls = [front.deposit(f"k{number}") for number in range(limits.MESSAGE_COMMANDS + 5)]
            await asyncio.gather(*calls)
        assert front.log.sizes == [limits.MESSAGE_COMMANDS, 5]

    with a_worker(real_store):
        asyncio.run(scenario())


def test_all_partitions_are_flushed_in_one_round_trip(real_store: RealStore) -> None:
    """Each has a message of its own; they go out together."""

    async def scenario() -> None:
        async with front_end(real_store) as front:
            calls = [front.deposit("k", id_in(partition)) for partition in range(PARTITIONS)]
            await asyncio.gather(*calls)
        (streams,) = [[stream for stream, _ in each] for each in front.log.rounds]
        assert sorted(streams) == [(partition, Lane.INTERACTIVE) for partition in range(PARTITIONS)]

    with a_worker(real_store):
        asyncio.run(scenario())


def test_a_repeated_call_gets_the_one_outcome(real_store: RealStore) -> None:
    """Also where both are in one message, and through another front end."""

    async def scenario() -> None:
        async with front_end(real_store) as front, front_end(real_store) as other:
            first, second = await asyncio.gather(front.deposit("k"), front.deposit("k"))
            third = await other.deposit("k")
            reused = await other.deposit("k", amount=2)
        assert (first.balance, first.replayed) == (1, False)
        assert [(each.transaction_id, each.replayed) for each in (second, third)] == [
            (first.transaction_id, True)
        ] * 2
        assert reused.outcome is Outcome.IDEMPOTENCY_KEY_REUSED

    with a_worker(real_store):
        asyncio.run(scenario())


# Deadlines


def test_a_call_ends_at_its_deadline_and_the_command_is_not_applied_later(real_store: RealStore) -> None:
    """
    Given no worker
    If one comes when the caller has gone
    Expect that the command is dropped: it leaves the queue and no trace.
    """

    async def scenario() -> None:
        async with front_end(real_store) as front:
            began = time.monotonic()
            with pytest.raises(DeadlinePassed):
                await front.deposit("k", timeout_ms=150)
            assert 0.15 <= time.monotonic() - began < 0.15 + AT_ONCE_SECONDS

    asyncio.run(scenario())
    backend = real_store.backend()
    assert waiting(backend, 1) == 1
    with a_worker(real_store):
        eventually(lambda: waiting(backend, 1) == 0)
    assert ledger_keys(backend) == []


def test_what_missed_its_deadline_while_waiting_is_not_sent(real_store: RealStore) -> None:
    """
    Given a message on its way, and two calls that wait for the next, one of them not for long
    Expect that the next message carries only the other one.
    """

    async def scenario() -> None:
        async with front_end(real_store) as front:
            first = front.deposit("first")
            await soon(lambda: front.log.sizes)
            late, patient = front.deposit("late", timeout_ms=50), front.deposit("patient")
            with pytest.raises(DeadlinePassed):
                await late
            with a_worker(real_store):
                await asyncio.gather(first, patient)
        assert front.log.sizes == [1, 1]

    asyncio.run(scenario())
    assert ledger_keys(real_store.backend()) == ["first", "patient"]


def test_a_cancelled_call_is_not_sent_and_gives_its_place_back(real_store: RealStore) -> None:
    """The caller has hung up: nobody would be told."""

    async def scenario() -> None:
        async with front_end(real_store, max_waiting=2) as front:
            first = front.deposit("first")
            await soon(lambda: front.log.sizes)
            gone = front.deposit("gone")
            await asyncio.sleep(0)
            gone.cancel()
            with pytest.raises(asyncio.CancelledError):
                await gone
            patient = front.deposit("patient")
            with a_worker(real_store):
                await asyncio.gather(first, patient)

    asyncio.run(scenario())
    assert ledger_keys(real_store.backend()) == ["first", "patient"]


def test_a_call_that_is_cancelled_after_it_was_sent_harms_nobody(real_store: RealStore) -> None:
    """It may be applied; those who travel with it are answered."""

    async def scenario() -> None:
        async with front_end(real_store) as front:
            gone, stays = front.deposit("gone"), front.deposit("stays")
            await soon(lambda: front.log.sizes)
            gone.cancel()
            with a_worker(real_store):
                answer = await stays
        assert answer.balance == 2

    asyncio.run(scenario())


# Refusals


def test_too_many_calls_are_refused_at_once(real_store: RealStore) -> None:
    """Those within the bound wait on; when they have ended there is room again."""

    async def scenario() -> None:
        async with front_end(real_store, max_waiting=3) as front:
            calls = [front.deposit(f"k{number}") for number in range(3)]
            await asyncio.sleep(0)
            began = time.monotonic()
            with pytest.raises(Overloaded):
                await front.deposit("one too many")
            assert time.monotonic() - began < AT_ONCE_SECONDS
            with a_worker(real_store):
                await asyncio.gather(*calls)
                assert (await front.deposit("later")).balance == 4

    asyncio.run(scenario())
    assert ledger_keys(real_store.backend())[-1] == "later"


def test_a_store_that_is_nearly_full_takes_no_new_commands(real_store: RealStore) -> None:
    """What is queued must still fit, with its answers: admission ends at four fifths of the memory."""
    backend = real_store.backend()
    (limit,) = backend.call("CONFIG", "GET", "maxmemory")[1:]
    used = next(
        line for line in backend.call("INFO", "memory").decode().splitlines() if "used_memory:" in line
    )

    async def scenario() -> None:
        async with front_end(real_store) as front:
            await soon(lambda: not front.bus._has_room)
            with pytest.raises(Overloaded, match="memory"):
                await front.deposit("k")

    try:
        backend.call("CONFIG", "SET", "maxmemory", int(used.partition(":")[2]) * 10 // 9)
        asyncio.run(scenario())
    finally:
        backend.call("CONFIG", "SET", "maxmemory", limit)


def test_a_reservation_id_that_cannot_be_read_needs_no_queue(real_store: RealStore) -> None:
    """There is no partition to ask."""

    async def scenario() -> None:
        bus = FrontEnd(real_store, 1).bus
        answer = await bus.execute(Commit(reservation_id="no such id"))
        assert answer == Answer(outcome=Outcome.RESERVATION_NOT_FOUND)

    asyncio.run(scenario())


def test_before_the_store_was_seen_everything_is_refused(real_store: RealStore) -> None:
    """Certainly not queued: the caller may go elsewhere."""

    async def scenario() -> None:
        front = FrontEnd(real_store, 1)
        with pytest.raises(Unavailable):
            await front.deposit("k")

    asyncio.run(scenario())


# A store that goes away


def test_a_store_that_is_down_is_refused_at_once_and_used_again_when_it_is_back(own_store: RealStore) -> None:
    """
    Given a front end and a worker, both running
    If the store is killed and started again
    Expect refusals without delay in between, and everything as before afterwards, with nobody's help.
    """

    async def scenario() -> None:
        async with front_end(own_store) as front:
            assert (await front.deposit("before")).balance == 1
            own_store.kill()
            await soon(lambda: not front.bus.available, within_seconds=1)
            for number in range(3):
                began = time.monotonic()
                with pytest.raises(Unavailable):
                    await front.deposit(f"during {number}")
                assert time.monotonic() - began < AT_ONCE_SECONDS
            await asyncio.to_thread(own_store.start)
            await soon(lambda: front.bus.available)
            assert (await front.deposit("after")).balance == 2

    with a_worker(own_store):
        asyncio.run(scenario())
    assert ledger_keys(own_store.backend()) == ["before", "after"]


def test_a_command_that_was_sent_is_answered_after_the_store_came_back(own_store: RealStore) -> None:
    """
    Given a command in its queue, and one that still waits for the next message
    If the store is killed and started again
    Expect the first to be answered, since it was written, and the second to be refused: it was not queued.
    """

    async def scenario() -> None:
        async with front_end(own_store) as front:
            sent = front.deposit("sent")
            await soon(lambda: waiting(own_store.backend(), 1) == 1)
            unsent = front.deposit("unsent")
            await asyncio.sleep(0)
            own_store.kill()
            with pytest.raises(Unavailable):
                await unsent
            assert not sent.done()
            await asyncio.to_thread(own_store.start)
            with a_worker(own_store):
                assert (await sent).balance == 1

    asyncio.run(scenario())


def test_a_store_that_came_back_older_is_not_worked_with(
    real_store: RealStore, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Given a front end and a worker that have seen three commits
    If all connections break and the store then counts only one
    Expect neither to go on: answers were given that this store does not know.
    """
    backend = real_store.backend()

    async def scenario() -> None:
        async with front_end(real_store) as front:
            for number in range(3):
                await front.deposit(f"k{number}")
            await soon(lambda: front.log._seen_commits >= 3)
            backend.call("HSET", keys.META, "commits", 1)
            backend.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await soon(lambda: not front.bus.available)
            backend.append([((1, Lane.INTERACTIVE), "a message")])
            await soon(lambda: caplog.text.count("older copy: it counts 1 commits") >= 2)
            with pytest.raises(Unavailable):
                await front.deposit("refused")

    with a_worker(real_store):
        asyncio.run(scenario())
        assert waiting(backend, 1) == 1
    assert {
        record.name for record in caplog.records if "ALARM the store is an older copy" in record.message
    } == {
        "app.queueing.bus",
        "app.queueing.consumer",
    }


def test_a_front_end_that_opens_has_looked_for_its_store(own_store: RealStore) -> None:
    """The first caller of a process that has just started is not told that a store is away which is there."""

    async def opened() -> bool:
        found = await open_front_end(settings_for(own_store))
        try:
            assert isinstance(found.bus, Bus)
            return found.bus.available
        finally:
            await found.close()

    there = asyncio.run(opened())
    own_store.kill()
    assert (there, asyncio.run(opened())) == (True, False)
