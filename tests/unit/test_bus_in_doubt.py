"""What a front end does when it cannot know whether its messages were queued. On the in-memory twin."""

import asyncio
from collections import Counter

import pytest

from app.domain.commands import Deposit
from app.domain.outcomes import Answer
from app.domain.policy import Policy
from app.queueing.bus import Bus
from app.services.faults import StoreUnavailable, Unavailable
from app.services.queue import Entry, Stream
from tests.support.playing_fields import PARTITIONS, TwinCommandLog, TwinField
from tests.support.scene import ALICE, Owner
from tests.support.waiting import LOOK_EVERY_SECONDS, soon


class DoubtfulLog(TwinCommandLog):
    """Queues what it is given, and loses the reply."""

    def __init__(self, field: TwinField) -> None:
        super().__init__(field)
        self.appended = 0

    async def append(self, messages: list[tuple[Stream, str]]) -> list[Unavailable | None]:
        await super().append(messages)
        self.appended += len(messages)
        raise StoreUnavailable("the connection broke")

    async def results(self, front_end: str, cursor: str, block_ms: int) -> list[Entry]:
        await asyncio.sleep(LOOK_EVERY_SECONDS)
        return await super().results(front_end, cursor, block_ms)


def test_what_may_have_been_queued_is_waited_for_and_not_sent_again() -> None:
    """A message is sent once: a second one would be a second try, without the caller's knowledge."""
    field = TwinField()

    async def scenario() -> tuple[Answer, int]:
        log = DoubtfulLog(field)
        bus = Bus(log, partitions=PARTITIONS, max_waiting=10)
        bus.start()
        await soon(lambda: bus.available)
        call = asyncio.create_task(bus.execute(Deposit(account_id=ALICE, amount=10), key="k"))
        await soon(lambda: log.appended)
        Owner(field.server, list(range(PARTITIONS)), policy=Policy()).work()
        answer = await call
        await bus.close()
        return answer, log.appended

    answer, appended = asyncio.run(scenario())
    assert (answer.balance, answer.replayed) == (10, False)
    assert appended == 1


class StumblingLog(TwinCommandLog):
    """Raises what nobody foresaw, the first time that one of its methods is called."""

    def __init__(self, field: TwinField, method: str) -> None:
        super().__init__(field)
        self._method = method
        self.calls: Counter[str] = Counter()

    async def append(self, messages: list[tuple[Stream, str]]) -> list[Unavailable | None]:
        self._stumble("append")
        return await super().append(messages)

    async def results(self, front_end: str, cursor: str, block_ms: int) -> list[Entry]:
        self._stumble("results")
        await asyncio.sleep(LOOK_EVERY_SECONDS)
        return await super().results(front_end, cursor, block_ms)

    async def has_room(self) -> bool:
        self._stumble("has_room")
        return await super().has_room()

    def _stumble(self, method: str) -> None:
        self.calls[method] += 1
        if method == self._method and self.calls[method] == 1:
            raise ValueError("nobody foresaw this")


@pytest.mark.parametrize("method", ["append", "results", "has_room"])
def test_a_fault_of_ours_leaves_no_front_end_mute_or_deaf(method: str) -> None:
    """
    If a step that a front end takes in the background raises what nobody foresaw
    Expect it to be taken again, and the caller's second try to be answered.
    """
    field = TwinField()

    async def scenario() -> Answer:
        log = StumblingLog(field, method)
        bus = Bus(log, partitions=PARTITIONS, max_waiting=10)
        bus.start()
        await soon(lambda: bus.available)
        owner = Owner(field.server, list(range(PARTITIONS)), policy=Policy())
        command = Deposit(account_id=ALICE, amount=10)
        first = asyncio.create_task(bus.execute(command, key="k"))
        await soon(lambda: log.calls[method])
        second = asyncio.create_task(bus.execute(command, key="k"))
        await soon(lambda: owner.work() or (second.done() and log.calls[method] > 1))
        first.cancel()
        await bus.close()
        return second.result()

    assert asyncio.run(scenario()).balance == 10


class MovingLog(TwinCommandLog):
    """After some answers the store is lost, and found again as another one, whose ids may be lower."""

    def __init__(self, field: TwinField) -> None:
        super().__init__(field)
        self.cursors: list[str] = []
        self.lost = False

    async def results(self, front_end: str, cursor: str, block_ms: int) -> list[Entry]:
        await asyncio.sleep(LOOK_EVERY_SECONDS)
        self.cursors.append(cursor)
        if self.lost:
            self.lost = False
            raise StoreUnavailable("the connection broke")
        return await super().results(front_end, cursor, block_ms)


def test_answers_are_read_from_their_beginning_when_the_store_was_lost() -> None:
    """
    Given a front end that has read answers
    If the store is lost, and found again
    Expect it to read there from the first answer on, and to take none twice: the ids are another clock's.
    """
    field = TwinField()

    async def scenario() -> tuple[list[str], list[Answer]]:
        log = MovingLog(field)
        bus = Bus(log, partitions=PARTITIONS, max_waiting=10)
        bus.start()
        await soon(lambda: bus.available)
        owner = Owner(field.server, list(range(PARTITIONS)), policy=Policy())
        answers = []
        for key in ("before", "after"):
            call = asyncio.create_task(bus.execute(Deposit(account_id=ALICE, amount=10), key=key))
            while not call.done():
                await asyncio.sleep(LOOK_EVERY_SECONDS)
                owner.work()
            answers.append(call.result())
            log.lost = True
            await soon(lambda: not log.lost and bus.available)
        await bus.close()
        return log.cursors, answers

    cursors, answers = asyncio.run(scenario())
    assert [answer.balance for answer in answers] == [10, 20]
    read = next(number for number, cursor in enumerate(cursors) if cursor != "0-0")
    assert "0-0" in cursors[read:]
