"""The command bus of a front end on a real store: batches, deadlines, refusals, a store that goes away."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.bootstrap import check_store
from app.domain.commands import Commit, Deposit
from app.domain.outcomes import Answer, Outcome
from app.queueing import limits
from app.queueing.bus import Bus
from app.services.faults import DeadlinePassed, Overloaded, Unavailable
from app.services.queue import Lane, Stream
from app.storage import keys
from app.storage.backends.valkey import ValkeyBackend
from app.storage.backends.valkey_async import AsyncCommandLog
from tests.support.carrying import PARTITIONS, id_in
from tests.support.grounds import read
from tests.support.store import RealStore
from tests.support.waiting import eventually, soon
from tests.support.workers import a_worker, settings_for, waiting

ANNA = id_in(1)
LONG_MS = 20_000
AT_ONCE_SECONDS = 0.25

pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")


class WatchedLog(AsyncCommandLog):
    """The real log; what was appended in each round trip is remembered."""

    def __init__(self, store: RealStore) -> None:
        super().__init__(store.url, partial(check_store, settings_for(store)))
        self.rounds: list[list[tuple[Stream, str]]] = []

    async def append(self, messages: list[tuple[Stream, str]]) -> list[Unavailable | None]:
        self.rounds.append(messages)
        return await super().append(messages)

    @property
    def sizes(self) -> list[int]:
        """How many commands each message carried."""
        return [len(msgspec.json.decode(text)["args"][0]) for each in self.rounds for _, text in each]


class FrontEnd:
    """A bus with its log, as one front-end process has them."""

    def __init__(self, store: RealStore, max_waiting: int) -> None:
        self.log = WatchedLog(store)
        self.bus = Bus(self.log, partitions=PARTITIONS, max_waiting=max_waiting)

    def deposit(
        self, key: str, account_id: str = ANNA, amount: int = 1, timeout_ms: int = LONG_MS
    ) -> "asyncio.Task[Answer]":
        """A call in a task of its own, as a server would make it."""
        command = Deposit(account_id=account_id, amount=amount)
        return asyncio.create_task(self.bus.execute(command, key=key, timeout_ms=timeout_ms))


@asynccontextmanager
async def front_end(store: RealStore, max_waiting: int = 10_000) -> AsyncIterator[FrontEnd]:
    """A running front end that has found the store."""
    found = FrontEnd(store, max_waiting)
    found.bus.start()
    try:
        await soon(lambda: found.bus.available)
        yield found
    finally:
        await found.bus.close()
        await found.log.close()


@pytest.fixture
def own_store(tmp_path: Path) -> Iterator[RealStore]:
    """A store that a test may kill."""
    store = RealStore(tmp_path / "own")
    store.start().empty()
    yield store
    store.stop()


def ledger_keys(backend: ValkeyBackend, account_id: str = ANNA, partition: int = 1) -> list[str]:
    """The keys of the account's deposits, in the order in which they were applied."""
    (elements,) = read(backend, ("LRANGE", keys.ledger(partition, account_id, 0), 0, -1))
    return [msgspec.json.decode(element.partition(b" ")[2])["idempotencyKey"] for element in elements]


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


# Slots


def test_a_lost_answer_closes_a_partition_for_a_second_and_no_longer(real_store: RealStore) -> None:
    """
    Given a message that is not answered
    Expect that the next call waits for its slot, and is sent when the slot is given up.
    """

    async def scenario() -> None:
        async with front_end(real_store) as front:
            calls = [front.deposit("first", timeout_ms=3_000)]
            began = time.monotonic()
            await soon(lambda: len(front.log.sizes) == 1)
            calls.append(front.deposit("second", timeout_ms=3_000))
            await soon(lambda: len(front.log.sizes) == 2)
            assert limits.SLOT_SECONDS == 1.0
            assert 0.9 <= time.monotonic() - began < 2.0
            for call in calls:
                call.cancel()

    asyncio.run(scenario())


def test_so_many_messages_are_on_their_way_and_no_more(
    real_store: RealStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Given a partition that does not answer at all
    Expect a bound on what piles up in its queue, and that one answer, late as it is, makes room.
    """
    monkeypatch.setattr(limits, "SLOT_SECONDS", 0.02)

    async def scenario() -> None:
        async with front_end(real_store) as front:
            calls = []
            for number in range(limits.MESSAGES_ON_THEIR_WAY):
                calls.append(front.deposit(f"k{number}"))
                await soon(lambda: len(front.log.sizes) == len(calls))
            calls.append(front.deposit("one too many"))
            await asyncio.sleep(5 * limits.SLOT_SECONDS)
            assert len(front.log.sizes) == limits.MESSAGES_ON_THEIR_WAY
            with a_worker(real_store):
                answers = await asyncio.gather(*calls)
        assert [answer.balance for answer in answers] == [1, 2, 3, 4, 5]

    asyncio.run(scenario())


def test_messages_that_nobody_waits_for_are_forgotten(
    real_store: RealStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Given a partition whose messages were all given up by their callers
    Expect that it takes new ones: lost answers must not close it for ever.
    """
    monkeypatch.setattr(limits, "SLOT_SECONDS", 0.02)
    monkeypatch.setattr(limits, "WATCH_SECONDS", 0.02)

    async def scenario() -> None:
        async with front_end(real_store) as front:
            for number in range(limits.MESSAGES_ON_THEIR_WAY + 2):
                with pytest.raises(DeadlinePassed):
                    await front.deposit(f"k{number}", timeout_ms=150)
        assert len(front.log.sizes) == limits.MESSAGES_ON_THEIR_WAY + 2

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


# Answers that are none


@pytest.mark.parametrize(
    "garbage",
    [
        lambda _: "no json",
        lambda _: '{"not": "a list"}',
        lambda message_id: f'[["{message_id}", [{{"outcome": "OF_A_LATER_RELEASE"}}]]]',
        lambda message_id: f'[["{message_id}", []]]',
        lambda message_id: f'[["{message_id}", [{{}}, {{}}]]]',
        lambda _: '[["somebody else\'s", [{}]]]',
    ],
    ids=["text", "shape", "outcome", "too few", "too many", "unknown message"],
)
def test_an_answer_that_cannot_be_read_does_not_deafen_the_front_end(
    real_store: RealStore, garbage: Callable[[str], str]
) -> None:
    """
    If something else than an answer is in the results, say of a worker that is a release ahead
    Expect that its caller waits until the deadline, and every other one is answered.
    """

    async def scenario() -> None:
        async with front_end(real_store) as front:
            victim = front.deposit("victim", timeout_ms=700)
            await soon(lambda: front.log.sizes)
            message: dict[str, Any] = msgspec.json.decode(front.log.rounds[0][0][1])
            reply_to = message["args"][0][0]["replyTo"]
            backend = real_store.backend()
            backend.call("XADD", keys.results(reply_to), "*", "a", garbage(message["message_id"]))
            await soon(lambda: front.bus._cursor != "0-0")
            with a_worker(real_store):
                assert (await front.deposit("other", id_in(2))).balance == 1
                with_its_own = await asyncio.gather(victim, return_exceptions=True)
            assert isinstance(with_its_own[0], Answer | DeadlinePassed)

    asyncio.run(scenario())


# The end


def test_a_front_end_that_stops_tells_those_who_wait(real_store: RealStore) -> None:
    """Sent: unknown, ask again with the same key. Not sent: certainly not queued."""

    async def scenario() -> None:
        async with front_end(real_store) as front:
            sent = front.deposit("sent")
            await soon(lambda: front.log.sizes)
            unsent = front.deposit("unsent")
            await asyncio.sleep(0)
        with pytest.raises(DeadlinePassed):
            await sent
        with pytest.raises(Unavailable):
            await unsent

    asyncio.run(scenario())


def test_a_front_end_can_be_stopped_at_any_step(real_store: RealStore) -> None:
    """
    Given a bus in the middle of whatever it does, some steps of the event loop further each time
    Expect that it ends without delay: no library may swallow the cancellation of its tasks.
    """

    async def scenario() -> None:
        for steps in range(40):
            front = FrontEnd(real_store, 10)
            front.bus.start()
            if steps % 2:
                await soon(lambda front=front: front.bus.available)  # type: ignore[misc]
            call = front.deposit("k")
            for _ in range(steps // 2):
                await asyncio.sleep(0)
            began = time.monotonic()
            await front.bus.close()
            assert time.monotonic() - began < limits.CANCEL_SECONDS, steps
            with pytest.raises((DeadlinePassed, Unavailable)):
                await call
            await front.log.close()

    asyncio.run(scenario())
