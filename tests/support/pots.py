"""Pots without their store: records as contributions left them, and what a decision on a pot changes."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from app.domain.accounts import Account
from app.domain.commands import Command, RecordContribution, SettlePot, Winner
from app.domain.decide import decide
from app.domain.outcomes import Outcome
from app.domain.policy import Policy
from app.domain.pots import (
    SETTLED,
    Contribution,
    EntryType,
    Pot,
    PotEntry,
    SettlementResult,
    cancel,
    open_pot,
    put_in,
)
from app.domain.state import Decision, State
from tests.support.domain import NOW, POLICY, check_decision, request_of, state_of

HAND = ("t1", "h1")
POT_ID = "003-" + "p" * 26
HOUSE = "$house-003"


def pot(*seats: tuple[int, str, int], pot_id: str = POT_ID) -> Pot:
    """An active pot: seat, account and chips of each contribution, in their order."""
    made = open_pot(pot_id, HAND, NOW - 9_000)
    for seat_id, account_id, amount in seats:
        added = Contribution(seat_id=seat_id, account_id=account_id, amount=amount)
        made = put_in(made, added, "BET", NOW - 8_000)
    return made


def cancelled(made: Pot) -> Pot:
    """The pot as CancelPot left it."""
    return cancel(made, "misdeal", NOW - 7_000)


def settled(made: Pot) -> Pot:
    """The pot as a settlement without rake left it: the first seat has won it all."""
    seat_id, account_id = made.contributions[0].seat_id, made.contributions[0].account_id
    transaction_id = "007-" + "w" * 26
    win = PotEntry(
        n=len(made.entries) + 1,
        type=EntryType.POT_WIN,
        amount=-made.total,
        account_id=account_id,
        timestamp=NOW - 7_000,
        seat_id=seat_id,
        transaction_id=transaction_id,
    )
    result = SettlementResult(
        seat_id=seat_id,
        account_id=account_id,
        transaction_id=transaction_id,
        amount=made.total,
        new_balance=made.total,
    )
    return msgspec.structs.replace(
        made,
        status=SETTLED,
        version=made.version + 1,
        entries=(*made.entries, win),
        results=(result,),
        settled_at=win.timestamp,
    )


def contribute(
    amount: int, account_id: str = "alice", seat_id: int = 1, kind: str = ""
) -> RecordContribution:
    """A contribution to hand h1 at table t1."""
    return RecordContribution(
        table_id=HAND[0],
        hand_id=HAND[1],
        seat_id=seat_id,
        account_id=account_id,
        amount=amount,
        contribution_type=kind,
    )


def settle(*winners: tuple[int, str, int], to: str = "ACCOUNT", folded: tuple[int, ...] = ()) -> SettlePot:
    """A settlement of hand h1 at table t1: seat, account and chips of each winner."""
    return SettlePot(
        table_id=HAND[0],
        hand_id=HAND[1],
        winners=tuple(Winner(seat_id=seat, account_id=who, amount=amount) for seat, who, amount in winners),
        payout_to=to,
        folded_seat_ids=folded,
    )


@dataclass(frozen=True, kw_only=True)
class PotEffect:
    """All that a decision on a pot changes; what is left out stays as it was.

    `balances` and `in_play` are differences by account, `opened` the accounts that are new, `pot` its status
    then and its difference in chips. `sticks` says that a refusal is kept under the key.
    """

    balances: Mapping[str, int] = field(default_factory=dict)
    opened: frozenset[str] = frozenset()
    in_play: Mapping[str, int] = field(default_factory=dict)
    pot: tuple[str, int] | None = None
    sticks: bool = False


NOTHING = PotEffect()
STICKS = PotEffect(sticks=True)


def effect_of(state: State, decision: Decision) -> PotEffect:
    """What a decision on this state changes."""
    before = {each.account.account_id: state.accounts[each.account.account_id] for each in decision.accounts}
    balances = {
        each.account.account_id: each.account.balance - (was.balance if was else 0)
        for each, was in zip(decision.accounts, before.values(), strict=True)
    }
    in_play: Counter[str] = Counter()
    for change in decision.tables:
        assert change.table_id == HAND[0]
        in_play[change.account_id] += change.amount
    after, was_pot = decision.pot, state.pots[HAND]
    if after is not None:
        assert after.version == (was_pot.version if was_pot else 0) + 1
    chips = (after.chips if after else 0) - (was_pot.chips if was_pot else 0)
    return PotEffect(
        balances=balances,
        opened=frozenset(account_id for account_id, was in before.items() if was is None),
        in_play=dict(in_play),
        pot=(after.status, chips) if after else None,
        sticks=decision.refusal is not None,
    )


@dataclass(frozen=True)
class PotRow:
    """One line of a rule's table: on these records, this command ends so and changes this.

    `in_play` is what alice has on the table.
    """

    says: str
    given: tuple[Account | Pot, ...]
    command: Command
    outcome: Outcome = Outcome.OK
    effect: PotEffect = NOTHING
    policy: Policy = POLICY
    in_play: int | None = None

    def __str__(self) -> str:
        return self.says.replace(" ", "-")

    @property
    def state(self) -> State:
        return state_of(self.given, None if self.in_play is None else {(HAND[0], "alice"): self.in_play})

    def check(self) -> None:
        """The row holds, and deciding has changed nothing by itself."""
        state, request = self.state, request_of(self.command)
        decision = decide(state, request, NOW, self.policy)
        check_decision(state, request, decision)
        assert state == self.state
        assert decision.answer.outcome is self.outcome
        assert effect_of(state, decision) == self.effect
        assert (decision.record is not None) is (self.outcome is Outcome.OK and request.command.keyed)


def encoded(made: Pot) -> Pot:
    """The pot as a store gives it back."""
    return msgspec.json.decode(msgspec.json.encode(made), type=Pot)
