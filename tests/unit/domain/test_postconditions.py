"""What no decision may leave behind, whatever a rule or a record says: it is a fault, and no answer."""

import pytest
from msgspec.structs import replace

from app.domain.accounts import Account, Origin, Posting, post
from app.domain.amounts import MAX_CHIPS
from app.domain.commands import Deposit
from app.domain.decide import InvariantBroken, decide
from app.domain.ledger import Metadata, TransactionType
from app.domain.outcomes import Answer
from app.domain.reservations import Reservation
from app.domain.rules.case import Case
from app.domain.state import Decision
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


@pytest.mark.parametrize(
    "decision",
    [
        Decision(ANSWER, account=replace(AFTER, balance=-1), posting=POSTING),
        Decision(ANSWER, account=replace(AFTER, balance=MAX_CHIPS + 1), posting=POSTING),
        Decision(ANSWER, account=replace(AFTER, balance=111), posting=POSTING),
        Decision(ANSWER, account=replace(AFTER, seq=9), posting=POSTING),
        Decision(ANSWER, account=replace(AFTER, reserved=-1)),
        Decision(ANSWER, account=replace(AFTER, reserved=111)),
        Decision(ANSWER, posting=Posting(POSTING.entry, POSTING.element)),
    ],
)
def test_a_rule_that_is_wrong_is_stopped(decision: Decision, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below zero, beyond the range, more held than there is, or an entry that is not the account's change."""

    def wrong(_case: Case, _command: Deposit) -> Decision:
        return decision

    replace_rule(monkeypatch, Deposit, wrong)
    with pytest.raises(InvariantBroken):
        decide(state_of([ALICE]), DEPOSIT, NOW, POLICY)
