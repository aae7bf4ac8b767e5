"""What no decision may leave behind, whatever a rule or a record says: it is a fault, and no answer."""

import pytest
from msgspec.structs import replace

from app.domain.accounts import Account, Origin, Posting, post
from app.domain.amounts import MAX_CHIPS
from app.domain.commands import Deposit
from app.domain.decide import decide
from app.domain.invariants import InvariantBroken
from app.domain.ledger import Metadata, TransactionType
from app.domain.outcomes import Answer
from app.domain.reservations import Reservation
from app.domain.rules.case import Case
from app.domain.state import AccountEffect, Decision
from tests.support.domain import NOW, POLICY, account, replace_rule, request_of, reservation, state_of

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
