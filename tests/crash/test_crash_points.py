"""Every step to the server, one after the other, meets every fault; after each all promises must hold.

The steps are those of two short evenings, counted while they run without a fault: two workers, a front end, a
job, every kind of command; on one evening a worker is replaced, on the other one is killed.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import msgspec
import pytest

from app.domain.commands import KINDS as COMMANDS
from app.domain.commands import (
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
from tests.support.faults import WRITES, FaultPlan, Kind, Step, possible
from tests.support.harness import Ask, Letter, Order, World, together, world_of
from tests.support.playing_fields import Field, TwinField
from tests.support.proof import dead_letters, problems
from tests.support.scene import ALICE, ANNA, BOB, CAROL, named, reservation_id
from tests.support.telling import Tell

DAVE, ERIN, NOBODY = named("dave", 3), named("erin", 3), named("nobody", 1)
FAY, GUS, TABLE = named("fay", 0), named("gus", 1), named("table", 2)
HAL, IDA, OPAL = named("hal", 3), named("ida", 3), named("opal", 3)
ACCOUNTS = (ALICE, ANNA, BOB, CAROL, DAVE, ERIN, FAY, GUS, HAL, IDA, NOBODY, OPAL)
HOUR = 3_600
DISTURBED_AFTER_MS = 900

PAYOUTS = {
    DAVE: Ask(Payout(account_id=DAVE, amount=70), "win-dave"),
    ERIN: Ask(Payout(account_id=ERIN, amount=20, type="BONUS"), "win-erin"),
}
PAID_TOGETHER = {
    DAVE: PAYOUTS[DAVE],  # before, and alone: not once more
    HAL: Ask(Payout(account_id=HAL, amount=7), "win-hal"),
    IDA: Ask(Payout(account_id=IDA, amount=9, type="BONUS"), "win-ida"),
}
UNKNOWN = f'{{"v":1,"commandId":"newer-0","kind":"Blind","payload":{{"accountId":"{DAVE}"}}}}'
FROM_A_NEWER_RELEASE = (
    f'{{"queue_name":"balance","actor_name":"execute","args":[[{UNKNOWN}]],"message_id":"newer"}}'
)


Disturbance = Callable[[World], None]


class Evening:
    """Callers of all kinds, and what they were answered."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._callers = {account_id: Caller(world, account_id) for account_id in ACCOUNTS}
        self._dealer, self._other_dealer = Dealer(world, TABLE), Dealer(world, TABLE)
        self._desk = OpsDesk(world, OPAL)

    @property
    def answers(self) -> list[tuple[Ask, Answer]]:
        callers = (*self._callers.values(), self._dealer, self._other_dealer, self._desk)
        return [answer for caller in callers for answer in caller.answers]

    def run(self, disturbance: Disturbance) -> None:
        """From the first call to the last look."""
        world = self._world
        world.start_job(
            Order("payouts", list(PAYOUTS.values())),
            Order("together", [together("batch", *PAID_TOGETHER.values())]),
            Letter(3, FROM_A_NEWER_RELEASE),
        )
        world.turns.post(DISTURBED_AFTER_MS, partial(disturbance, world))
        world.run(
            self._alice(),
            self._anna(),
            self._bob(),
            self._carol(),
            self._nobody(),
            self._hands(),
            self._ops(),
        )
        world.run(*map(self._winner, PAYOUTS | PAID_TOGETHER))
        world.run(*(caller.look() for caller in self._callers.values()))

    async def _alice(self) -> None:
        """Several commands in one message, a buy-in, a refusal that sticks, and all of it again."""
        caller, buy_in = self._callers[ALICE], reservation_id(ALICE, "r")
        deposit, too_much = Deposit(account_id=ALICE, amount=50), Withdraw(account_id=ALICE, amount=500)
        await caller.ask(EnsureAccount(account_id=ALICE, initial_balance=100))
        await caller.ask_at_once(
            Ask(deposit, "d"),
            Ask(Withdraw(account_id=ALICE, amount=30), "w"),
            Ask(Reserve(account_id=ALICE, table_id="t", amount=60, timeout_seconds=HOUR), "r"),
        )
        await caller.ask(Commit(reservation_id=buy_in))
        await asyncio.sleep(1)
        await caller.ask(CashOut(account_id=ALICE, table_id="t", amount=75), "c")
        await caller.ask(too_much, "too much")
        await caller.ask_at_once(
            Ask(deposit, "d"), Ask(Deposit(account_id=ALICE, amount=51), "d"), Ask(too_much, "too much")
        )
        await caller.ask(Commit(reservation_id=buy_in))
        await caller.ask(Release(reservation_id=buy_in))
        await caller.ask(EnsureAccount(account_id=ALICE, initial_balance=1))

    async def _anna(self) -> None:
        """Her account shares its partition with Alice's: their commands travel in one message."""
        caller = self._callers[ANNA]
        await caller.ask(EnsureAccount(account_id=ANNA))
        await caller.ask(Deposit(account_id=ANNA, amount=5, source="REFERRAL"), "d")

    async def _bob(self) -> None:
        """A hold that is refused, and one that is given back."""
        caller, buy_in = self._callers[BOB], reservation_id(BOB, "r")
        await caller.ask(Deposit(account_id=BOB, amount=10), "d")
        await caller.ask(Reserve(account_id=BOB, table_id="t", amount=11, timeout_seconds=HOUR), "too much")
        await caller.ask(Reserve(account_id=BOB, table_id="t", amount=8, timeout_seconds=HOUR), "r")
        await caller.ask(ExpireReservation(reservation_id=buy_in))
        await asyncio.sleep(1)
        await caller.ask(Release(reservation_id=buy_in))
        await caller.ask(Commit(reservation_id=buy_in))

    async def _carol(self) -> None:
        """A hold that nobody ends until its time is over."""
        caller, buy_in = self._callers[CAROL], reservation_id(CAROL, "r")
        await caller.ask(Deposit(account_id=CAROL, amount=40, source="BONUS"), "d")
        await caller.ask(Reserve(account_id=CAROL, table_id="u", amount=40), "r")
        await asyncio.sleep(1)
        await caller.ask(ExpireReservation(reservation_id=buy_in))
        await caller.ask(Release(reservation_id=buy_in))

    async def _hands(self) -> None:
        """A hand of Fay and Gus that is settled, one that is cancelled, and what is refused of both."""
        dealer = self._dealer
        players = [self._callers[account_id] for account_id in (FAY, GUS)]
        await asyncio.gather(*(each.ask(EnsureAccount(account_id=each.account_id)) for each in players))
        await dealer.ask_at_once(Ask(_bet("h1", 1, FAY), "bet 1"), Ask(_bet("h1", 2, GUS), "bet 2"))
        await asyncio.sleep(1)
        await dealer.ask(_settle(61), "wrong")
        await dealer.settle(_settle(60), "settle", {GUS: 57})  # less 5 %
        await dealer.settle(_settle(60), "settle", {GUS: 57})
        await dealer.ask_at_once(
            Ask(_settle(60), "again"), Ask(_bet("h1", 1, FAY), "late"), Ask(_cancel("h1"))
        )
        await dealer.ask(_bet("h2", 1, FAY), "only one")
        await dealer.ask_at_once(Ask(_cancel("h2")), Ask(_cancel("h2")), Ask(_cancel("nothing")))

    async def _nobody(self) -> None:
        """An account that does not exist."""
        caller = self._callers[NOBODY]
        await caller.ask_at_once(
            Ask(Withdraw(account_id=NOBODY, amount=1), "w"),
            Ask(CashOut(account_id=NOBODY, table_id="t", amount=1), "c"),
            Ask(Reserve(account_id=NOBODY, table_id="t", amount=1), "r"),
        )
        await self._other_dealer.ask(_bet("h3", 1, NOBODY), "nobody")
        await caller.ask(Commit(reservation_id=derive_id(1, "Reserve", NOBODY, "r")))

    async def _ops(self) -> None:
        """A player who is taken from a table, corrected and frozen."""
        desk, buy_in = self._desk, reservation_id(OPAL, "r")
        await desk.ask(EnsureAccount(account_id=OPAL, initial_balance=50))
        await desk.ask(Reserve(account_id=OPAL, table_id="t", amount=40, timeout_seconds=HOUR), "r")
        bought = await desk.ask(Commit(reservation_id=buy_in))
        for _ in range(2):
            await desk.take_from("t", "leave", 40)
        await desk.ask_at_once(
            Ask(Adjust(account_id=OPAL, change=-500, corrects=bought.transaction_id), "too much"),
            Ask(Adjust(account_id=OPAL, change=-5, corrects=bought.transaction_id), "less"),
            Ask(Adjust(account_id=OPAL, change=3, corrects=bought.transaction_id), "more"),
        )
        await desk.freeze_for_a_while()

    async def _winner(self, account_id: str) -> None:
        """Has the payout told once more that the job has queued."""
        answer = await self._callers[account_id].ask(*(PAYOUTS | PAID_TOGETHER)[account_id])
        assert answer.replayed


def _bet(hand_id: str, seat_id: int, account_id: str) -> RecordContribution:
    return RecordContribution(
        table_id=TABLE, hand_id=hand_id, seat_id=seat_id, account_id=account_id, amount=30
    )


def _settle(amount: int) -> SettlePot:
    winner = Winner(seat_id=2, account_id=GUS, amount=amount)
    return SettlePot(table_id=TABLE, hand_id="h1", winners=(winner,), folded_seat_ids=(1,))


def _cancel(hand_id: str) -> CancelPot:
    return CancelPot(table_id=TABLE, hand_id=hand_id)


EVENINGS: dict[str, Disturbance] = {"replaced": World.replace_worker, "killed": World.kill_worker}
KINDS = [
    *(Kind("front end", method) for method in ("append", "results", "has_room", "heed_ops")),
    *(Kind("execution", method) for method in ("read", "mark", "commit")),
    *(Kind("consumer", method) for method in ("take", "release")),
    *(Kind("ownership", method) for method in ("acquire", "renew", "release")),
    Kind("worker", "check"),
    Kind("job", "append"),
]


def test_the_evenings_have_steps_of_every_kind() -> None:
    """Whatever a process does at its port is counted, and named above."""
    steps: Counter[Kind] = Counter()
    for disturbance in EVENINGS.values():
        plan = FaultPlan()
        play(TwinField(), disturbance, plan)
        steps += plan.steps
    sys.stdout.write("".join(f"{'.'.join(kind)}: {count}\n" for kind, count in sorted(steps.items())))
    assert set(steps) == set(KINDS)


def test_the_evenings_ask_for_every_kind_of_command() -> None:
    """A kind that is added has to be asked for here too."""
    with world_of(TwinField(), FaultPlan()) as world:
        Evening(world).run(World.replace_worker)
        queued = (envelope for message in world.queued.values() for envelope in message.envelopes)
        assert {envelope["kind"] for envelope in queued} - {"Blind"} == set(COMMANDS)


def cases() -> list[Any]:
    """Each step once: what writes on the server, the rest on the twin. The soak has all on the server."""
    found = []
    for (evening, disturbance), kind in product(EVENINGS.items(), KINDS):
        name = f"{evening}-{'.'.join(kind)}"
        on_server = evening == "killed" and kind.method in WRITES
        if not on_server:
            found.append(pytest.param("twin", disturbance, kind, id=f"twin-{name}"))
        marks = [pytest.mark.timeout(600), *([] if on_server else [pytest.mark.soak])]
        found.append(pytest.param("server", disturbance, kind, id=f"server-{name}", marks=marks))
    return found


@pytest.mark.parametrize(("field", "disturbance", "kind"), cases(), indirect=["field"])
def test_whatever_becomes_of_a_step_the_promises_hold(
    field: Field, disturbance: Disturbance, kind: Kind, tell: Tell
) -> None:
    """Given an evening. If one of its steps meets a fault. Expect every call to be answered as without it."""
    undisturbed = FaultPlan()
    expected = play(field, disturbance, undisturbed)
    for number, fault in product(range(1, undisturbed.steps[kind] + 1), possible(kind)):
        step = Step(*kind, number)
        plan = FaultPlan({step: fault})
        try:
            assert play(field, disturbance, plan) == expected
            # Only the twin's clock stands still meanwhile: on the server an evening may be a step shorter.
            over_before = plan.steps[kind] < number and not isinstance(field, TwinField)
            assert plan.met == ([] if over_before else [(step, fault)])
        except BaseException as failure:
            failure.add_note(f"{fault} at {step}")
            raise
    steps = undisturbed.steps[kind]
    tell(
        f"a fault at every step on the {type(field).__name__}",
        {"steps": steps, "faults": steps * len(possible(kind))},
    )


def play(field: Field, disturbance: Disturbance, plan: FaultPlan) -> list[object]:
    """One evening under a plan; what its callers were told. Whatever is wrong with it fails."""
    with world_of(field, plan) as world:
        evening = Evening(world)
        evening.run(disturbance)
        assert problems(world, ACCOUNTS) == []
        assert_parked_once_for_each_delivery(world)
        return [told(*answered) for answered in evening.answers]


def told(ask: Ask, answer: Answer) -> object:
    """What must be the same whatever fails: not the time, and not whether it was the first to be given."""
    match ask.command:
        case EnsureAccount():
            return ask, answer.outcome, answer.balance
        case ExpireReservation():
            return ask, answer.outcome
    return ask, msgspec.structs.replace(answer, timestamp=0, replayed=False)


def assert_parked_once_for_each_delivery(world: World) -> None:
    """The letter from a newer release is kept whole for ops, and is the only one."""
    letters = dead_letters(world)
    assert {letter.raw for letter in letters} == {UNKNOWN}
    assert len(letters) == len(world.arrivals["newer-0"])
