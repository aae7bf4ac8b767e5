"""Load for tests that kill processes: accounts that never rest and repeat a call until it is answered."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any

import grpc.aio
from google.protobuf.message import Message

from app.rpc.gen import balance_pb2 as pb
from app.rpc.gen import balance_pb2_grpc
from tests.support.checker import Checker

DEADLINE_SECONDS = 8.0
PATIENCE_SECONDS = 0.3
PAUSE_SECONDS = 0.05
FINISH_SECONDS = 20.0
OK, ABANDONED, STALE = "OK", "ABANDONED", "STALE"
# A front end that was started again is found again at once.
OPTIONS = (("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 100))


@dataclass(eq=False)
class Attempt:
    """One sending of a call, and how it ended: a status, ABANDONED or STALE. Times in ms since the epoch."""

    sent_at: int
    ended_at: int = 0
    outcome: str = ""


@dataclass(eq=False)
class Asked:
    """A call as its caller lived it, from the first attempt to the answer."""

    account_id: str
    request: Any
    attempts: list[Attempt] = field(default_factory=list)
    answer: Any = None
    done: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def answered_at(self) -> int:
        """When the answer came, in ms since the epoch."""
        return self.attempts[-1].ended_at

    @property
    def transaction_id(self) -> str:
        """The transaction that the answer names, or ""."""
        return getattr(self.answer, "transaction_id", "")


class Load:
    """What the accounts have asked so far, and which calls wait for their answer just now."""

    def __init__(self, channel: grpc.aio.Channel, seed: int, deadline_seconds: float) -> None:
        self.seed = seed
        self._deadline_seconds = deadline_seconds
        self.checker = Checker()
        self.asked: list[Asked] = []
        self.in_flight: set[Asked] = set()
        self.over = asyncio.Event()
        self._stub = balance_pb2_grpc.BalanceServiceStub(channel)

    @property
    def failures(self) -> list[Attempt]:
        """The attempts that brought no answer."""
        return [attempt for asked in self.asked for attempt in asked.attempts if attempt.outcome != OK]

    async def ask(self, account_id: str, request: Message, patience_seconds: float | None) -> Any:
        """The final answer to a request that is sent again, under its key, until there is one.

        An attempt that is abandoned is not taken back: what it asked for may still be carried out.
        """
        call = self.checker.sent(account_id, request)
        asked = Asked(account_id, request)
        self.asked.append(asked)
        self.in_flight.add(asked)
        while asked.answer is None:
            asked.answer = await self._attempt(asked, patience_seconds)
        self.in_flight.remove(asked)
        self.checker.answered(call, asked.answer)
        asked.done.set()
        return asked.answer

    async def _attempt(self, asked: Asked, patience_seconds: float | None) -> Any:
        """The answer, or None after a failure and a short pause."""
        invoke = getattr(self._stub, type(asked.request).__name__.removesuffix("Request"))
        attempt, answer = Attempt(now_ms()), None
        asked.attempts.append(attempt)
        try:
            async with asyncio.timeout(patience_seconds):
                answer = await invoke(asked.request, timeout=self._deadline_seconds)
        except TimeoutError:
            attempt.outcome = ABANDONED
        except grpc.aio.AioRpcError as error:
            attempt.outcome = error.code().name
        else:
            attempt.outcome = STALE if getattr(answer, "stale", False) else OK
        attempt.ended_at = now_ms()
        if attempt.outcome == OK:
            return answer
        await asyncio.sleep(PAUSE_SECONDS)
        return None


@asynccontextmanager
async def load_on(
    address: str,
    seed: int,
    *,
    patience_seconds: float | None = PATIENCE_SECONDS,
    deadline_seconds: float = DEADLINE_SECONDS,
    hasty: int = 48,
    patient: int = 16,
) -> AsyncIterator[Load]:
    """Load while the block runs; then every call is answered, and every account looked at.

    Hasty accounts make one call at a time and soon repeat it; patient ones make up to four at once and wait.
    """
    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel, asyncio.TaskGroup() as group:
        load = Load(channel, seed, deadline_seconds)
        one_by_one = [_Account(load, f"hasty-{number}", patience_seconds) for number in range(hasty)]
        in_bursts = [_Account(load, f"patient-{number}", None) for number in range(patient)]
        await asyncio.gather(*(account.open() for account in one_by_one + in_bursts))
        tasks = [group.create_task(account.work(account.one_by_one)) for account in one_by_one]
        tasks += [group.create_task(account.work(account.burst)) for account in in_bursts]
        yield load
        load.over.set()
        async with asyncio.timeout(FINISH_SECONDS):
            await asyncio.wait(tasks)


async def all_answered(asked: Collection[Asked], within_seconds: float) -> None:
    """Wait for these calls; raises TimeoutError when one of them takes longer."""
    async with asyncio.timeout(within_seconds):
        for each in asked:
            await each.done.wait()


def now_ms() -> int:
    """The time by the clock that a store on this machine has too, in ms since the epoch."""
    return time.time_ns() // 1_000_000


class _Account:
    """What one account does: by chance, but the same for the same seed and answers."""

    def __init__(self, load: Load, account_id: str, patience_seconds: float | None) -> None:
        self._load = load
        self._account_id = account_id
        self._patience_seconds = patience_seconds
        self._rng = Random(f"{load.seed}-{account_id}")
        self._keys = count(1)
        self._last: Message = pb.GetBalanceRequest(account_id=account_id)

    async def open(self) -> None:
        """Open the account with some chips."""
        await self._ask(pb.EnsureAccountRequest(account_id=self._account_id, initial_balance=1_000))

    async def work(self, step: Callable[[], Awaitable[None]]) -> None:
        """Take step after step until the load is over, then look."""
        while not self._load.over.is_set():
            await step()
        await self._look()

    async def one_by_one(self) -> None:
        """A change, and now and then a look, or the last request again."""
        await self._end_hold(await self._ask(self._change()))
        if self._rng.random() < 0.1:
            await self._look()
        if self._rng.random() < 0.1:
            await self._ask(self._last)

    async def burst(self) -> None:
        """Several changes at once, sometimes one of them twice."""
        changes = [self._change() for _ in range(self._rng.randint(2, 3))]
        if self._rng.random() < 0.3:
            changes.append(self._rng.choice(changes))
        answers = await asyncio.gather(*map(self._ask, changes))
        holds = {answer.reservation_id: answer for answer in answers if _is_hold(answer)}
        for hold in holds.values():
            await self._end_hold(hold)

    async def _end_hold(self, answer: Any) -> None:
        if not _is_hold(answer):
            return
        commit = pb.CommitReservationRequest(reservation_id=answer.reservation_id)
        release = pb.ReleaseReservationRequest(reservation_id=answer.reservation_id)
        self._last = commit if self._rng.random() < 0.7 else release
        await self._ask(self._last)

    async def _look(self) -> None:
        await self._ask(pb.GetBalanceRequest(account_id=self._account_id))

    async def _ask(self, request: Message) -> Any:
        return await self._load.ask(self._account_id, request, self._patience_seconds)

    def _change(self) -> Message:
        """A request under a new key; withdrawals and holds may be for more than there is."""
        amount, key = self._rng.randint(1, 900), f"key-{next(self._keys)}"
        common: dict[str, Any] = {
            "account_id": self._account_id,
            "amount": amount,
            "idempotency_key": key,
        }
        self._last = self._rng.choice(
            (
                pb.DepositRequest(**common),
                pb.WithdrawRequest(**common),
                pb.ProcessCashOutRequest(**common, table_id="table"),
                pb.ReserveForBuyInRequest(**common, table_id="table", timeout_seconds=3_600),
            )
        )
        return self._last


def _is_hold(answer: Any) -> bool:
    return bool(getattr(answer, "reservation_id", ""))
