"""A front end whose worker stood still for a while is itself again soon, however its callers insist.

The clock is the test's: nothing waits, and the same seed makes the same run.
"""

import asyncio
import json
from collections import Counter, deque
from random import Random

import msgspec

from app.domain.commands import Deposit
from app.domain.outcomes import Answer, Outcome
from app.queueing.bus import Bus
from app.queueing.limits import UNIT_COMMANDS
from app.services.faults import DeadlinePassed, Overloaded, Unavailable
from app.services.queue import Entry, Stream
from tests.support.turns import Turns

PARTITIONS = 64
OFFERED, CAPACITY = 400, 500
"""Calls a second: four fifths of what can be done."""
DROPPING = 0.3
"""What it costs to drop a command whose time is over, of what it costs to carry one out."""
STALL = range(3, 6)
SECONDS = 18
DEADLINE_MS = 2_000
TRIES = 6


class SlowWorker:
    """The queue, and one who works it off, in order, as fast as that goes. Implements `CommandLog`."""

    def __init__(self) -> None:
        self._queue: deque[tuple[str, list[float]]] = deque()
        self._answers: deque[Entry] = deque()
        self._come = asyncio.Event()
        self._answered = asyncio.Event()

    async def append(self, messages: list[tuple[Stream, str]]) -> list[Unavailable | None]:
        now = asyncio.get_running_loop().time()
        for _, text in messages:
            message = json.loads(text)
            until = [now + each["remainingMs"] / 1_000 for each in message["args"][0]]
            self._queue.append((message["message_id"], until))
        self._come.set()
        return [None] * len(messages)

    async def results(self, front_end: str, cursor: str, block_ms: int) -> list[Entry]:
        if not self._answers and block_ms:
            self._answered.clear()
            await self._answered.wait()
        found, self._answers = list(self._answers), deque()
        return found

    async def has_room(self) -> bool:
        return True

    async def heed_ops(self, front_end: str) -> bool:
        return False

    async def close(self) -> None:
        """Nothing to close."""

    async def work(self) -> None:
        """Carry out one unit after the other, but while it stands still."""
        loop = asyncio.get_running_loop()
        while True:
            if STALL.start <= loop.time() < STALL.stop:
                await asyncio.sleep(STALL.stop - loop.time())
            if not self._queue:
                self._come.clear()
                await self._come.wait()
                continue
            answers = self._unit(loop.time())
            outcomes = Counter(answer.outcome for _, told in answers for answer in told)
            work = outcomes[Outcome.OK] + DROPPING * outcomes[Outcome.DROPPED]
            await asyncio.sleep(work / CAPACITY)
            entry_id = f"{int(loop.time() * 1_000)}-{len(self._answers)}"
            self._answers.append(Entry(entry_id, msgspec.json.encode(answers)))
            self._answered.set()

    def _unit(self, now: float) -> list[tuple[str, list[Answer]]]:
        """The next messages and their answers, which come all at once in the end."""
        answers: list[tuple[str, list[Answer]]] = []
        while self._queue and sum(len(told) for _, told in answers) < UNIT_COMMANDS:
            message_id, deadlines = self._queue.popleft()
            outcomes = [Outcome.DROPPED if until < now else Outcome.OK for until in deadlines]
            answers.append((message_id, [Answer(outcome=outcome) for outcome in outcomes]))
        return answers


async def insist(bus: Bus, number: int, rng: Random, served: Counter[int]) -> None:
    """Call, and call again after a pause where that has failed; note the second in which it succeeded."""
    for attempt in range(TRIES):
        try:
            command = Deposit(account_id=f"a{rng.randrange(20_000)}", amount=1)
            await bus.execute(command, key=str(number), timeout_ms=DEADLINE_MS)
        except (Overloaded, DeadlinePassed):
            await asyncio.sleep(rng.random() * 0.05 * 2**attempt)
        else:
            served[int(asyncio.get_running_loop().time())] += 1
            return


async def evening(rng: Random) -> Counter[int]:
    """How many calls were served, by second."""
    worker, served = SlowWorker(), Counter[int]()
    bus = Bus(worker, partitions=PARTITIONS, max_waiting=4_096)
    working = asyncio.create_task(worker.work())
    bus.start()
    await bus.looked()
    calls, loop = set(), asyncio.get_running_loop()
    begun = loop.time()
    for number in range(OFFERED * SECONDS):
        calls.add(asyncio.create_task(insist(bus, number, rng, served)))
        await asyncio.sleep(max(begun + number / OFFERED - loop.time(), 0))
    for task in (working, *calls):
        task.cancel()
    await bus.close()
    return served


def test_after_a_stall_callers_are_served_as_before(seed: int) -> None:
    """
    Given a worker that stands still for three seconds, with a fifth of its strength to spare
    If everybody who is refused or not answered calls again
    Expect all of them to be served again some seconds later.
    """
    with Turns() as turns:
        playing = turns.loop.create_task(evening(Random(seed)))
        turns.run(playing.done, within_ms=2_000 * SECONDS)
        served = playing.result()
    assert served[STALL.start - 1] > 0.9 * OFFERED
    assert sum(served[second] for second in range(SECONDS - 5, SECONDS)) > 0.9 * OFFERED * 5
