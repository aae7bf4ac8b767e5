"""Workers are killed between reading a settlement and its answer: no hand is ever half paid."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import grpc.aio
import msgspec
import pytest
from google.protobuf.message import Message

from app.rpc.gen import balance_pb2 as pb
from app.rpc.gen.balance_pb2_grpc import BalanceServiceStub
from tests.crash.pot_kills import PARTITIONS, Hand, Killer, KillingLine, Moment, Names, Seen, look
from tests.support.carrying import id_in
from tests.support.deployment import Deployment, deployment
from tests.support.proxy import serving
from tests.support.telling import Tell
from tests.support.waiting import soon

WORKERS = 2
BROUGHT = 10_000_000
CALL_SECONDS = (0.3, 8.0)  # some callers soon ask again, while their first call is still in the queue
KILLED_WITHIN_SECONDS, RECOVERED_WITHIN_SECONDS = 60.0, 60.0
SOAK = [pytest.mark.soak, pytest.mark.timeout(3_600)]
# Contributions of 2, 2 and 1: the third seat can win 3 of the 5, what is beyond that is the others'.
WON = ((5, 0, 0), (2, 0, 3), (3, 2, 0), (1, 1, 3), (2, 1, 2))


@pytest.mark.parametrize("kills", [5, pytest.param(200, marks=SOAK)])
def test_a_hand_is_paid_whole_or_not_at_all(kills: int, tmp_path: Path, seed: int, tell: Tell) -> None:
    """
    Given hands at four tables, whose players have their accounts elsewhere and play at others too
    If workers are killed at the commit of a settlement, before it or right after
    Expect every hand then to be paid whole or not at all, and at the end to be paid as its caller was told.
    """
    with deployment(tmp_path, PARTITIONS) as service:
        backend = service.store.backend()
        tables: list[Table] = []

        def look_at(names: list[Names]) -> tuple[list[Seen], list[Seen]]:
            players = {table.table_id: table.players for table in tables}
            struck = [Hand(table_id, hand_id, players[table_id]) for table_id, hand_id in names]
            others = [table.hand for table in tables if table.hand and table.hand not in struck]
            return [look(backend, each) for each in struck], [look(backend, each) for each in others]

        killer = Killer(look_at)
        with lines(service, killer) as found:
            service.front_end()
            for line in found:
                hire(service, line)
            asyncio.run(_run(service, killer, tables, seed, kills))
        every = [look(backend, table.hand) for table in tables if table.hand]
        verified = service.verify()
    told: Counter[str] = sum((table.told for table in tables), Counter())
    tell("kills of the worker at a settlement", _story(killer) | told)

    assert [seen for kill in killer.kills for seen in (*kill.struck, *kill.others) if seen.half] == []
    struck = {(kill.moment, seen.status) for kill in killer.kills for seen in kill.struck}
    assert (Moment.BEFORE_COMMIT, "ACTIVE") in struck
    assert {status for moment, status in struck if moment is Moment.AFTER_COMMIT} == {"SETTLED"}
    assert {seen.status for seen in every} <= {"SETTLED", "CANCELLED"}
    assert verified.returncode == 0, verified.stdout + verified.stderr
    supply = msgspec.json.decode(verified.stdout)["supply"]
    assert (supply["inPots"], supply["tableDeficits"], supply["difference"]) == (0, 0, 0)
    assert supply["house"] == told["rake"]
    assert supply["accounts"] == told["to accounts"]
    assert supply["inPlay"] == len(tables) * 3 * BROUGHT - told["to accounts"] - told["rake"]


class Table:
    """A table with three players, where one hand is played after the other, and what it was told."""

    def __init__(self, stub: Any, table_id: str, players: tuple[str, ...], rng: Random) -> None:
        self.hand: Hand | None = None
        self.played = 0
        self.told: Counter[str] = Counter()
        self._stub = stub
        self.table_id = table_id
        self.players = players
        self._rng = rng

    async def play(self, over: asyncio.Event) -> None:
        """Everybody buys in; then hands until it is over."""
        await asyncio.gather(*map(self._buy_in, self.players))
        for number in count():
            if over.is_set():
                return
            self.hand = Hand(self.table_id, f"h{number}", self.players)
            await self._play(self.hand.hand_id, self._rng.randint(5, 40))
            self.played += 1

    async def _buy_in(self, account_id: str) -> None:
        key = self.table_id
        await self._ask(pb.DepositRequest(account_id=account_id, amount=BROUGHT, idempotency_key=key))
        held = await self._ask(
            pb.ReserveForBuyInRequest(
                account_id=account_id,
                table_id=self.table_id,
                amount=BROUGHT,
                idempotency_key=key,
                timeout_seconds=3_600,
            )
        )
        await self._ask(pb.CommitReservationRequest(reservation_id=held.reservation_id))

    async def _play(self, hand_id: str, unit: int) -> None:
        bets = [self._ask(self._bet(hand_id, seat, share * unit)) for seat, share in enumerate((2, 2, 1), 1)]
        await asyncio.gather(*bets)
        if self._rng.random() < 0.1:
            await self._ask(pb.CancelPotRequest(table_id=self.table_id, hand_id=hand_id))
            self.told["hands cancelled"] += 1
            return
        settle = self._settlement(hand_id, unit)
        paid = await self._ask(settle)
        won = sum(each.amount for each in paid.results)
        rake = min(5, 5 * unit // 20)
        assert won == 5 * unit - rake
        self.told.update({"hands settled": 1, "rake": rake})
        if settle.payout_to == pb.SettlePotRequest.ACCOUNT:
            self.told["to accounts"] += won
        if self._rng.random() < 0.3:
            settle.idempotency_key = f"{hand_id} again"
            assert await self._ask(settle) == paid

    def _bet(self, hand_id: str, seat_id: int, amount: int) -> pb.RecordContributionRequest:
        return pb.RecordContributionRequest(
            table_id=self.table_id,
            hand_id=hand_id,
            seat_id=seat_id,
            account_id=self.players[seat_id - 1],
            amount=amount,
            idempotency_key=f"{hand_id} {seat_id}",
        )

    def _settlement(self, hand_id: str, unit: int) -> pb.SettlePotRequest:
        winners = [
            pb.PotWinner(seat_id=seat_id, account_id=account_id, amount=share * unit)
            for seat_id, (account_id, share) in enumerate(
                zip(self.players, self._rng.choice(WON), strict=True), 1
            )
            if share
        ]
        return pb.SettlePotRequest(
            table_id=self.table_id,
            hand_id=hand_id,
            winners=winners,
            idempotency_key=hand_id,
            payout_to=self._rng.choice((pb.SettlePotRequest.ACCOUNT, pb.SettlePotRequest.TABLE)),
        )

    async def _ask(self, request: Message) -> Any:
        """The answer, asked for again under the same key until there is one; it is never a refusal."""
        invoke = getattr(self._stub, METHODS[type(request).__name__])
        while True:
            try:
                answer = await invoke(request, timeout=self._rng.choice(CALL_SECONDS))
            except grpc.aio.AioRpcError as error:
                if error.code() not in AGAIN:
                    raise
                self.told[error.code().name] += 1
            else:
                assert answer.ok, answer
                return answer


AGAIN = {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE}
METHODS = {f"{name}Request": name for name in ("Deposit", "ReserveForBuyIn", "CommitReservation")} | {
    f"{name}Request": name for name in ("RecordContribution", "SettlePot", "CancelPot")
}


@contextmanager
def lines(service: Deployment, killer: Killer) -> Iterator[list[KillingLine]]:
    """A line for each worker."""
    with ExitStack() as stack:
        found = [stack.enter_context(KillingLine(service.store.url, killer)) for _ in range(WORKERS)]
        for line in found:
            stack.enter_context(serving(line))
        yield found


def hire(service: Deployment, line: KillingLine) -> None:
    """A worker at the line, under the stricter rule: only chips that were brought may be bet."""
    line.worker = service.worker(REDIS_URL=line.url, TABLE_BANK="enforce")


async def _run(service: Deployment, killer: Killer, tables: list[Table], seed: int, kills: int) -> None:
    await service.until_serving()
    over = asyncio.Event()
    async with grpc.aio.insecure_channel(service.address) as channel, asyncio.TaskGroup() as group:
        stub = BalanceServiceStub(channel)
        for partition in range(PARTITIONS):
            table_id = id_in(partition)
            players = tuple(id_in((partition + place) % PARTITIONS) for place in (1, 2, 3))
            tables.append(Table(stub, table_id, players, Random(f"{seed}-{partition}")))
        for table in tables:
            group.create_task(table.play(over))
        for number in range(kills):
            killer.wait_for(list(Moment)[number % 2])
            kill = await soon(partial(killer.kill, number), KILLED_WITHIN_SECONDS)
            hire(service, kill.line)
            await _recovered(tables)
        over.set()


async def _recovered(tables: list[Table]) -> None:
    """Wait until every hand that is played now has been paid or cancelled."""
    played = [table.played for table in tables]
    await soon(
        lambda: all(table.played > before for table, before in zip(tables, played, strict=True)),
        RECOVERED_WITHIN_SECONDS,
    )


def _story(killer: Killer) -> Counter[str]:
    """The kills, and the hands that each of them struck, by the moment and how they were found."""
    return Counter(kills=len(killer.kills)) + Counter(
        f"{seen.status} {kill.moment.value}" for kill in killer.kills for seen in kill.struck
    )
