"""Commands of ops on an account: for each, a table of what is there, what is asked, and what comes of it."""

import pytest

from app.domain.accounts import ACTIVE, FROZEN
from app.domain.amounts import MAX_CHIPS
from app.domain.commands import Adjust, FreezeAccount, LeaveTable, UnfreezeAccount
from app.domain.decide import decide
from app.domain.outcomes import Answer, Outcome
from app.domain.reservations import EXPIRED
from tests.support.domain import NOW, POLICY, STICKS, Effect, Row, account, request_of, reservation, state_of

FROZEN_ACCOUNT = (account(status=FROZEN),)
UNKNOWN = ()
TYPO = "003-" + "a" * 26
FREEZE = FreezeAccount(account_id="alice", reason="odd play")
UNFREEZE = UnfreezeAccount(account_id="alice", reason="looked into")
LEAVE = LeaveTable(account_id="alice", table_id="t1", reason="closed")


def adjust(change: int) -> Adjust:
    return Adjust(account_id="alice", change=change, corrects=TYPO, reason="typo")


def applied(kind: str, amount: int, before: int, after: int) -> Answer:
    return Answer(type=kind, amount=amount, balance_before=before, balance=after, timestamp=NOW)


def refused(outcome: Outcome, available: int = 0) -> Answer:
    return Answer(outcome=outcome, available_balance=available)


CORRECTION = {"corrects": TYPO, "reason": "typo", "source": "ADJUSTMENT"}
ADJUST = [
    Row(
        "a correction upwards is a deposit that names what it corrects",
        (account(balance=100),),
        adjust(7),
        applied("DEPOSIT", 7, 100, 107),
        Effect(balance=7, version=1, entry=("DEPOSIT", CORRECTION)),
    ),
    Row(
        "a correction downwards is a withdrawal that names what it corrects",
        (account(balance=100),),
        adjust(-100),
        applied("WITHDRAW", 100, 100, 0),
        Effect(balance=-100, version=1, entry=("WITHDRAW", CORRECTION)),
    ),
    Row(
        "what is held cannot be corrected away",
        (account(balance=100), reservation(amount=30)),
        adjust(-71),
        refused(Outcome.INSUFFICIENT_BALANCE, 70),
        STICKS,
    ),
    Row(
        "a hold past its time is no longer in the way",
        (account(balance=100), reservation(amount=30, left_ms=0)),
        adjust(-100),
        applied("WITHDRAW", 100, 100, 0),
        Effect(
            balance=-100,
            reserved=-30,
            version=1,
            entry=("WITHDRAW", CORRECTION),
            reservations={"r1": EXPIRED},
        ),
    ),
    Row(
        "a correction opens no account",
        UNKNOWN,
        adjust(7),
        refused(Outcome.ACCOUNT_NOT_FOUND),
        STICKS,
    ),
    Row("a frozen account is not corrected", FROZEN_ACCOUNT, adjust(7), refused(Outcome.ACCOUNT_FROZEN)),
    Row(
        "a correction beyond the range is refused",
        (account(balance=MAX_CHIPS),),
        adjust(1),
        refused(Outcome.INVALID_AMOUNT),
        STICKS,
    ),
]

LEAVING = [
    Row(
        "all that is in play comes back, however much that is",
        (account(balance=100),),
        LEAVE,
        applied("CASH_OUT", 40, 100, 140),
        Effect(
            balance=40,
            version=1,
            entry=("CASH_OUT", {"tableId": "t1", "reason": "closed"}),
            in_play={"t1": -40},
        ),
        in_play=40,
    ),
    Row(
        "nothing in play is nothing to bring back so far",
        (account(),),
        LEAVE,
        refused(Outcome.NOT_ON_TABLE),
        in_play=0,
    ),
    Row(
        "a deficit is no chips",
        (account(),),
        LEAVE,
        refused(Outcome.NOT_ON_TABLE),
        in_play=-5,
    ),
    Row(
        "an account that nobody opened has no seat",
        UNKNOWN,
        LEAVE,
        refused(Outcome.ACCOUNT_NOT_FOUND),
        STICKS,
    ),
    Row("a frozen account stays seated", FROZEN_ACCOUNT, LEAVE, refused(Outcome.ACCOUNT_FROZEN), in_play=40),
    Row(
        "chips beyond the range stay on the table",
        (account(balance=MAX_CHIPS),),
        LEAVE,
        refused(Outcome.INVALID_AMOUNT),
        STICKS,
        in_play=1,
    ),
]


@pytest.mark.parametrize("row", ADJUST, ids=str)
def test_adjust(row: Row) -> None:
    """Corrects by a new transaction within the account's own rules."""
    row.check()


@pytest.mark.parametrize("row", LEAVING, ids=str)
def test_leave_table(row: Row) -> None:
    """Moves what is in play to the account; what that is, the state says."""
    row.check()


@pytest.mark.parametrize("before", [ACTIVE, FROZEN])
@pytest.mark.parametrize(("command", "after"), [(FREEZE, FROZEN), (UNFREEZE, ACTIVE)])
def test_freezing_and_thawing_set_the_status_and_nothing_else(
    command: FreezeAccount | UnfreezeAccount, before: str, after: str
) -> None:
    """Repeated, they write nothing."""
    alice = account(balance=70, status=before)
    decision = decide(state_of([alice]), request_of(command), NOW, POLICY)
    assert decision.answer == Answer(balance=70)
    found = [(effect.account.status, effect.account.balance, effect.postings) for effect in decision.accounts]
    assert found == ([] if before == after else [(after, 70, ())])


@pytest.mark.parametrize("command", [FREEZE, UNFREEZE])
def test_an_account_that_is_not_there_is_neither_frozen_nor_thawed(command: FreezeAccount) -> None:
    """Nor opened by it."""
    decision = decide(state_of([]), request_of(command), NOW, POLICY)
    assert (decision.answer.outcome, decision.accounts) == (Outcome.ACCOUNT_NOT_FOUND, ())


@pytest.mark.parametrize("found_when", ["unsound", "broken"])
def test_an_account_whose_ledger_is_broken_is_not_thawed(found_when: str) -> None:
    """Whether that was known before, or is only found now: the next command would build on it."""
    state = state_of([account(status=FROZEN)])
    getattr(state, found_when)["alice"] = "the last entry is missing"
    decision = decide(state, request_of(UNFREEZE), NOW, POLICY)
    assert decision.answer == Answer(outcome=Outcome.ACCOUNT_FROZEN, detail="the last entry is missing")
    assert decision.accounts == ()
