"""Answers that are lost, late or none: the command bus goes on, and ends when it is told to."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from app.domain.outcomes import Answer
from app.queueing import limits
from app.services.faults import DeadlinePassed, Unavailable
from app.storage import keys
from app.storage.backends.valkey_async import RESULTS_AT_ONCE, AsyncCommandLog
from tests.support.carrying import id_in
from tests.support.front_ends import FrontEnd, front_end
from tests.support.store import RealStore
from tests.support.waiting import soon
from tests.support.workers import a_worker

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
            for number in range(100):  # a store that is slow for a moment keeps a message back
                with pytest.raises(DeadlinePassed):
                    await front.deposit(f"k{number}", timeout_ms=150)
                if len(front.log.sizes) > limits.MESSAGES_ON_THEIR_WAY + 1:
                    return
        pytest.fail(f"only {len(front.log.sizes)} messages were sent")

    asyncio.run(scenario())


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
    Expect that its caller waits, at most until the deadline, and every other one is answered.
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
                (end,) = await asyncio.gather(victim, return_exceptions=True)
            assert isinstance(end, Answer | DeadlinePassed)

    asyncio.run(scenario())


def test_an_answer_that_cannot_be_read_keeps_nobody_else_from_theirs(real_store: RealStore) -> None:
    """
    Given one entry that answers two messages, as a busy worker's does
    If one of its answers is of a later release, and a message has too few
    Expect all others of the entry to be heard.
    """

    async def scenario() -> None:
        async with front_end(real_store) as front:
            first = front.deposit("first")
            await soon(lambda: len(front.log.sizes) == 1)
            later, third = front.deposit("of a later release", timeout_ms=3_000), front.deposit("third")
            elsewhere = front.deposit("elsewhere", id_in(2))
            await soon(lambda: sum(front.log.sizes) == 4)
            sent = [msgspec.json.decode(text) for each in front.log.rounds for _, text in each]
            answers = [
                (message["message_id"], [{"outcome": "NEW"}, {"balance": 3}][-len(message["args"][0]) :])
                for message in sent
            ]
            answers[0] = (sent[0]["message_id"], [])
            reply_to = sent[0]["args"][0][0]["replyTo"]
            text = msgspec.json.encode(answers)
            real_store.backend().call("XADD", keys.results(reply_to), "*", "a", text)
            assert [answer.balance for answer in await asyncio.gather(third, elsewhere)] == [3, 3]
            assert not later.done()
            for call in (first, later):
                call.cancel()

    asyncio.run(scenario())


# Answers in a long row


def test_many_answers_are_read_some_at_a_time(real_store: RealStore) -> None:
    """
    Given more answers than one reply may bring
    Expect all of them, in their order, by as many replies as it takes; also where the last one read is gone.
    """

    async def scenario() -> None:
        log, backend = AsyncCommandLog(real_store.url, lambda seen: seen), real_store.backend()
        written = [
            backend.call("XADD", keys.results("front"), "*", "a", "[]").decode()
            for _ in range(2 * RESULTS_AT_ONCE + 5)
        ]
        read, sizes = ["0-0"], []
        while found := await log.results("front", read[-1], 10):
            read += [entry.entry_id for entry in found]
            sizes.append(len(found))
        assert (read[1:], sizes) == (written, [RESULTS_AT_ONCE, RESULTS_AT_ONCE, 5])
        found = await log.results("front", "99999999999999-0", 10)
        assert [entry.entry_id for entry in found] == written[:RESULTS_AT_ONCE]
        await log.close()

    asyncio.run(scenario())


def test_an_answer_behind_many_others_is_heard_after_a_loss(real_store: RealStore) -> None:
    """
    Given a front end with many answers in its stream
    If it loses the store, and reads them all again
    Expect it to come to the one that was given meanwhile.
    """

    async def scenario() -> None:
        async with front_end(real_store) as front:
            call = front.deposit("k")
            await soon(lambda: front.log.sizes)
            message: dict[str, Any] = msgspec.json.decode(front.log.rounds[0][0][1])
            key, backend = keys.results(message["args"][0][0]["replyTo"]), real_store.backend()
            for _ in range(3 * RESULTS_AT_ONCE):
                last = backend.call("XADD", key, "*", "a", "[]").decode()
            await soon(lambda: front.bus._cursor == last)
            backend.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            answer = msgspec.json.encode([(message["message_id"], [{"balance": 7}])])
            backend.call("XADD", key, "*", "a", answer)
            assert (await call).balance == 7

    asyncio.run(scenario())


# The end


def test_answers_are_heard_though_the_stores_clock_was_set_back(real_store: RealStore) -> None:
    """
    Given a front end that has read an answer of a time to come, in a stream that was forgotten since
    If its answers are at the present time again, and so before what it has read
    Expect it to hear them all the same, however they come.
    """

    async def scenario() -> None:
        log, backend = AsyncCommandLog(real_store.url, lambda seen: seen), real_store.backend()
        key = keys.results("front")
        backend.call("XADD", key, "99999999999999-0", "a", "ahead")
        (ahead,) = await log.results("front", "0-0", 10)
        assert await log.results("front", ahead.entry_id, 10) == [], "the same one is not read twice"
        backend.call("DEL", key)
        assert await log.results("front", ahead.entry_id, 10) == []
        backend.call("XADD", key, "*", "a", "now")
        (now,) = await log.results("front", ahead.entry_id, 10)
        assert now.payload == b"now"
        assert await log.results("front", now.entry_id, 10) == []
        await log.close()

    asyncio.run(scenario())


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
