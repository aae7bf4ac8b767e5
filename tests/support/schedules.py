"""Random evenings by seed: what callers ask, which steps fail, who is killed or frozen, and who goes first.

The same seed makes the same evening on the same code.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from random import Random

from app.domain.commands import (
    TO_ACCOUNT,
    TO_TABLE,
    Adjust,
    CancelPot,
    CashOut,
    Commit,
    Deposit,
    EnsureAccount,
    ExpireReservation,
    Payout,
    RecordContribution,
    Release,
    Reserve,
    SettlePot,
    Winner,
    Withdraw,
)
from app.domain.identifiers import derive_id
from app.domain.outcomes import Answer
from tests.support.callers import Caller, Dealer, OpsDesk
from tests.support.faults import Fault, Kind, RandomFaults
from tests.support.harness import Ask, Order, World, together, world_of
from tests.support.playing_fields import Field
from tests.support.proof import dead_letters, problems
from tests.support.scene import ALICE, ANNA, BOB, CAROL, named

PLAYERS = (ALICE, ANNA, BOB, CAROL)
WINNERS = (named("dave", 3), named("erin", 3))
TOGETHER = (named("hal", 3), named("ida", 3))
"""They are paid in one command, which may also repeat a payout of a winner."""
OPAL = named("opal", 0)
"""Ops look after her account."""
CORRECTED = derive_id(0, "Deposit", OPAL, "of long ago")
TABLE, SEATED = named("table", 2), (named("fay", 0), named("gus", 1))
HOUR = 3_600
EVENTS_WITHIN_MS = 4_000


@dataclass
class Evening:
    """What came of a seed: everything that is wrong, and how much there was to go wrong.

    `deaths` are processes that crashed, `parked` the commands that were given up for deaths of workers.
    """

    problems: list[str]
    steps: Counter[Kind]
    faults: Counter[tuple[Kind, Fault]]
    deaths: int
    parked: int
    answers: list[tuple[Ask, Answer]]
    paid_together: bool


def play(seed: int, field: Field) -> Evening:
    """The evening of this seed."""
    rng = Random(seed)
    plan = RandomFaults(Random(rng.random()), every=rng.choice((30, 60, 120)), most=rng.randint(2, 8))
    with world_of(field, plan, workers=rng.choice((2, 3)), choose=Random(rng.random()).choice) as world:
        callers = [_Player(world, account_id, Random(rng.random())) for account_id in (*PLAYERS, *WINNERS)]
        payouts = {
            account_id: Ask(Payout(account_id=account_id, amount=rng.randint(1, 99)), "win")
            for account_id in WINNERS
        }
        table, desk = _Table(world, Random(f"{seed} hands")), _Desk(world, Random(f"{seed} ops"))
        pairs = _Pairs(world, Random(f"{seed} together"), payouts)
        orders = [Order(f"pay-{name}", [payouts[name]] * rng.randint(1, 2)) for name in WINNERS]
        world.start_job(*pairs.put_into(orders))
        _disturb(world, rng)
        world.run(*(caller.play() for caller in callers[: len(PLAYERS)]), table.play(), desk.play())
        world.run(*(caller.ask(*payouts[caller.account_id]) for caller in callers[len(PLAYERS) :]))
        world.run(pairs.ask())
        everybody = (*callers, *table.seated, *pairs.callers, desk)
        world.run(*(caller.look() for caller in everybody))
        return Evening(
            problems=[*problems(world, [each.account_id for each in everybody]), *pairs.problems()],
            steps=plan.steps,
            faults=Counter((Kind(step.component, step.method), fault) for step, fault in plan.met),
            deaths=world.deaths,
            parked=len(dead_letters(world)),
            answers=[answer for caller in (*everybody, table) for answer in caller.answers],
            paid_together=pairs.paid,
        )


def _disturb(world: World, rng: Random) -> None:
    """Plan some events that do not wait for a step."""
    events = (
        world.kill_worker,
        world.replace_worker,
        world.kill_front,
        partial(world.freeze_worker, rng.choice((300, 2_500, 11_000))),
    )
    for _ in range(rng.randint(0, 3)):
        world.turns.post(rng.randrange(EVENTS_WITHIN_MS), rng.choice(events))


class _Player(Caller):
    """What one account does, by chance but repeatably."""

    def __init__(self, world: World, account_id: str, rng: Random) -> None:
        super().__init__(world, account_id)
        self._rng = rng
        self._keys = count(1)
        self._asked: list[Ask] = []

    async def play(self) -> None:
        """Some changes, alone or several at once, with looks, repetitions and pauses between them."""
        await self.ask(EnsureAccount(account_id=self.account_id, initial_balance=100))
        for _ in range(self._rng.randint(2, 4)):
            asks = [self._change() for _ in range(self._rng.choice((1, 1, 2, 3)))]
            self._asked += asks
            for answer in await self.ask_at_once(*asks):
                if answer.reservation_id and answer.ok:
                    await self._finish(answer.reservation_id)
            await asyncio.sleep(self._rng.choice((0, 0.01, 0.5)))
            if self._rng.random() < 0.3:
                await self.ask(*self._rng.choice(self._asked))
            if self._rng.random() < 0.3:
                await self.look()

    async def _finish(self, reservation_id: str) -> None:
        end = self._rng.choice((Commit, Release))(reservation_id=reservation_id)
        self._asked.append(Ask(end))
        await self.ask(end)

    def _change(self) -> Ask:
        """A command under a new key; withdrawals and holds may be more than there is."""
        account_id, amount = self.account_id, self._rng.randint(1, 90)
        command = self._rng.choice(
            (
                Deposit(account_id=account_id, amount=amount),
                Withdraw(account_id=account_id, amount=amount),
                CashOut(account_id=account_id, amount=amount, table_id="t"),
                Reserve(account_id=account_id, amount=amount, table_id="t", timeout_seconds=HOUR),
            )
        )
        return Ask(command, f"key-{next(self._keys)}")


class _Table(Dealer):
    """A few hands of two seats, or none: each is won by one of them, or cancelled."""

    def __init__(self, world: World, rng: Random) -> None:
        super().__init__(world, TABLE)
        self.seated = [Caller(world, account_id) for account_id in SEATED]
        self._rng = rng

    async def play(self) -> None:
        """Open the accounts, then play."""
        for player in self.seated:
            await player.ask(EnsureAccount(account_id=player.account_id))
        for number in range(self._rng.randint(0, 2)):
            await self._play(f"hand-{number}", self._rng.randint(1, 80))

    async def _play(self, hand_id: str, amount: int) -> None:
        bets = [
            Ask(
                RecordContribution(
                    table_id=TABLE,
                    hand_id=hand_id,
                    seat_id=seat_id,
                    account_id=each.account_id,
                    amount=amount,
                ),
                f"{hand_id} {seat_id}",
            )
            for seat_id, each in enumerate(self.seated)
        ]
        told = await self.ask_at_once(*bets)
        if self._rng.random() < 0.3:
            await self.ask(*self._rng.choice(bets))
        put_in = [seat_id for seat_id, answer in enumerate(told) if answer.ok]
        if not put_in or self._rng.random() < 0.2:
            await self.ask(CancelPot(table_id=TABLE, hand_id=hand_id))
            return
        await self._settle(hand_id, self._rng.choice(put_in), amount * len(put_in))

    async def _settle(self, hand_id: str, seat_id: int, pot: int) -> None:
        """Under one key, now and then under the same again, and under another one."""
        account_id = SEATED[seat_id]
        winner = Winner(seat_id=seat_id, account_id=account_id, amount=pot)
        place = self._rng.choice((TO_ACCOUNT, TO_ACCOUNT, TO_TABLE))
        settle = SettlePot(table_id=TABLE, hand_id=hand_id, winners=(winner,), payout_to=place)
        rake = min(pot // 20, 5) if pot > 20 else 0
        paid = {account_id: pot - rake} if place == TO_ACCOUNT else {}
        first = await self.settle(settle, hand_id, paid)
        if first.ok and self._rng.random() < 0.3:
            await self.settle(settle, hand_id, paid)
        if first.ok and self._rng.random() < 0.5:
            again = await self.ask(settle, f"{hand_id} again")
            assert again.results == first.results or not again.ok


class _Desk(OpsDesk):
    """A player who buys in and is taken from the table, is corrected, and frozen in the end."""

    def __init__(self, world: World, rng: Random) -> None:
        super().__init__(world, OPAL)
        self._rng = rng

    async def play(self) -> None:
        """Open the account, then the rest, or some of it."""
        await self.ask(EnsureAccount(account_id=OPAL, initial_balance=50))
        for table_id in "tu"[: self._rng.randint(0, 2)]:
            await self._sit_and_be_taken(table_id, self._rng.randint(1, 30))
        for number in range(self._rng.randint(0, 2)):
            change = self._rng.choice((-60, -10, 5))
            fix = Ask(Adjust(account_id=OPAL, change=change, corrects=CORRECTED), f"fix-{number}")
            for _ in range(self._rng.choice((1, 1, 2))):
                await self.ask(*fix)
        if self._rng.random() < 0.3:
            await self._hold_until_it_expires()
        if self._rng.random() < 0.5:
            await self.freeze_for_a_while()

    async def _hold_until_it_expires(self) -> None:
        held = await self.ask(Reserve(account_id=OPAL, amount=1, table_id="v"), "hold")
        if held.ok:
            await asyncio.sleep(0.01)
            await self.ask(ExpireReservation(reservation_id=held.reservation_id))
            await self.ask(Release(reservation_id=held.reservation_id))

    async def _sit_and_be_taken(self, table_id: str, amount: int) -> None:
        buy_in = Reserve(account_id=OPAL, amount=amount, table_id=table_id, timeout_seconds=HOUR)
        held = await self.ask(buy_in, f"sit {table_id}")
        if held.ok and (await self.ask(Commit(reservation_id=held.reservation_id))).ok:
            for _ in range(self._rng.choice((1, 1, 2))):
                await self.take_from(table_id, f"leave {table_id}", amount)


class _Pairs:
    """Two who are paid in one command, once or more often, before or after a winner who is in it too."""

    def __init__(self, world: World, rng: Random, payouts: dict[str, Ask]) -> None:
        self.callers = [Caller(world, account_id) for account_id in TOGETHER]
        self._payouts = [
            Ask(Payout(account_id=account_id, amount=rng.randint(1, 99)), "pair") for account_id in TOGETHER
        ]
        others = rng.sample(list(payouts.values()), rng.randint(0, 1))
        self._order = Order("together", [together("batch", *others, *self._payouts)] * rng.randint(1, 2))
        self._place = rng.randint(0, len(payouts))

    def put_into(self, orders: list[Order]) -> list[Order]:
        """These orders with that of the pair somewhere among them."""
        return [*orders[: self._place], self._order, *orders[self._place :]]

    async def ask(self) -> None:
        """Have both payouts told, each by itself: paid before, or now if that command was parked."""
        for caller, payout in zip(self.callers, self._payouts, strict=True):
            await caller.ask(*payout)

    @property
    def paid(self) -> bool:
        """True when the one command paid somebody."""
        return any(answer.replayed for answer in self._told)

    def problems(self) -> Iterator[str]:
        """It paid one and not the other."""
        if len({answer.replayed for answer in self._told}) > 1:
            yield f"paid in part: {self._told}"

    @property
    def _told(self) -> list[Answer]:
        return [answer for caller in self.callers for _, answer in caller.answers if answer.ok]
