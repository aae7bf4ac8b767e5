"""What no decision may leave behind, whatever a rule or a record says: it is a fault, and no answer."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from app.domain.accounts import Account, Origin, Posting, post
from app.domain.amounts import MAX_CHIPS
from app.domain.commands import CancelPot, Command, Deposit
from app.domain.decide import decide
from app.domain.invariants import InvariantBroken
from app.domain.ledger import Metadata, TransactionType
from app.domain.outcomes import Answer
from app.domain.requests import Request
from app.domain.reservations import Reservation
from app.domain.rules.case import Case
from app.domain.state import AccountEffect, Decision, TableChange
from tests.support.domain import NOW, POLICY, account, replace_rule, request_of, reservation, state_of
from tests.support.pots import contribute, pot, settle

DEPOSIT = request_of(Deposit(account_id="alice", amount=10))


@pytest.mark.parametrize(
    "records",
    [[account(balance=-11)], [account(balance=100), reservation(amount=111)]],
    ids=["a negative balance", "more held than there is"],
)
def test_a_record_that_no_rule_can_have_left_is_not_built_on(
    records: list[Account | Reservation],
) -> None:
    """The command meets a fault, so that ops look at the account, and it stays as it is."""
    state = state_of(records)
    with pytest.raises(InvariantBroken, match="held"):
        decide(state, DEPOSIT, NOW, POLICY)


ALICE = account(balance=100)
AFTER, POSTING = post(ALICE, 10, TransactionType.DEPOSIT, Metadata(), Origin(DEPOSIT.record_id, NOW))
ANSWER = Answer(balance=110)


def changed(account: Account, *postings: Posting) -> Decision:
    """A decision that leaves the account so."""
    return Decision(ANSWER, accounts=(AccountEffect(account, postings),))


@pytest.mark.parametrize(
    "decision",
    [
        changed(replace(AFTER, balance=-1), POSTING),
        changed(replace(AFTER, balance=MAX_CHIPS + 1), POSTING),
        changed(replace(AFTER, balance=111), POSTING),
        changed(replace(AFTER, seq=9), POSTING),
        changed(replace(AFTER, reserved=-1)),
        changed(replace(AFTER, reserved=111)),
        changed(replace(AFTER, balance=100, seq=3), POSTING),
        changed(AFTER, POSTING, POSTING),
        changed(replace(AFTER, account_id="bob"), POSTING),
        Decision(ANSWER),
    ],
)
def test_a_rule_that_is_wrong_is_stopped(decision: Decision, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below zero, beyond the range, more held than there is, or an entry that is not the account's change."""

    def wrong(_case: Case, _command: Deposit) -> Decision:
        return decision

    replace_rule(monkeypatch, Deposit, wrong)
    with pytest.raises(InvariantBroken):
        decide(state_of([ALICE]), DEPOSIT, NOW, POLICY)


HEADS_UP = pot((1, "alice", 50), (2, "bob", 50))
STATE = state_of([ALICE, account("bob"), HEADS_UP])
SETTLE = request_of(settle((1, "alice", 100)))
CONTRIBUTE = request_of(contribute(5))
CANCEL = request_of(CancelPot(table_id="t1", hand_id="h1"))


def one_chip_more(decision: Decision) -> Decision:
    """The first change of a table, or of an account, is a chip larger than it should be."""
    if decision.tables:
        first, *others = decision.tables
        return dataclasses.replace(decision, tables=(TableChange("t1", "bob", first.amount + 1), *others))
    (effect, *others_) = decision.accounts
    amount = effect.account.balance - 100 + 1
    after, posting = post(ALICE, amount, TransactionType.POT_WIN, Metadata(), Origin("x", NOW))
    return dataclasses.replace(decision, accounts=(AccountEffect(after, (posting,)), *others_))


def under_another_type(decision: Decision) -> Decision:
    """Chips move rightly, but the ledger calls them a deposit."""
    effect, *others = decision.accounts
    amount = effect.account.balance - 100
    after, posting = post(ALICE, amount, TransactionType.DEPOSIT, Metadata(), Origin("x", NOW))
    return dataclasses.replace(decision, accounts=(AccountEffect(after, (posting,)), *others))


def with_pot(**changes: object) -> Callable[[Decision], Decision]:
    """The pot is written otherwise than the rule has it."""

    def spoil(decision: Decision) -> Decision:
        assert decision.pot
        return dataclasses.replace(decision, pot=replace(decision.pot, **changes))

    return spoil


def without(field: str) -> Callable[[Decision], Decision]:
    """A part of the decision is left out."""

    def spoil(decision: Decision) -> Decision:
        nothing: Any = None if field == "pot" else ()
        return dataclasses.replace(decision, **{field: nothing})

    return spoil


@pytest.mark.parametrize(
    ("request_", "spoil"),
    [
        (SETTLE, one_chip_more),
        (SETTLE, under_another_type),
        (SETTLE, without("accounts")),
        (SETTLE, without("pot")),
        (SETTLE, with_pot(status="ACTIVE")),
        (SETTLE, with_pot(entries=HEADS_UP.entries)),
        (CONTRIBUTE, one_chip_more),
        (CONTRIBUTE, without("tables")),
        (CONTRIBUTE, without("pot")),
        (CONTRIBUTE, with_pot(total=106)),
        (CONTRIBUTE, with_pot(total=MAX_CHIPS + 1)),
        (CONTRIBUTE, with_pot(contributions=HEADS_UP.contributions)),
        (CONTRIBUTE, with_pot(entries=HEADS_UP.entries)),
        (CANCEL, one_chip_more),
        (CANCEL, without("tables")),
        (CANCEL, without("pot")),
    ],
)
def test_no_chip_is_made_or_lost_on_the_way(
    request_: Request, spoil: Callable[[Decision], Decision], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accounts, tables, pot and house together change by nothing; each record agrees with its own parts."""

    def wrong(case: Case, command: Command) -> Decision:
        return spoil(right(case, command))

    right = replace_rule(monkeypatch, type(request_.command), wrong)
    with pytest.raises(InvariantBroken):
        decide(STATE, request_, NOW, POLICY)
