"""Commands that change a balance: for each, a table of what is there, what is asked, and what comes of it."""

import pytest

from app.domain.accounts import FROZEN
from app.domain.amounts import MAX_CHIPS
from app.domain.commands import CashOut, Deposit, EnsureAccount, Payout, Withdraw
from app.domain.outcomes import Answer, Outcome
from app.domain.reservations import COMMITTED, EXPIRED, RELEASED
from tests.support.domain import ENFORCE, NOW, STICKS, Effect, Row, account, reservation

FROZEN_ACCOUNT = (account(status=FROZEN),)
UNKNOWN = ()


def applied(kind: str, amount: int, before: int, after: int) -> Answer:
    return Answer(type=kind, amount=amount, balance_before=before, balance=after, timestamp=NOW)


def refused(outcome: Outcome, available: int = 0) -> Answer:
    return Answer(outcome=outcome, available_balance=available)


ENSURE_ACCOUNT = [
    Row(
        "opens an account without chips",
        UNKNOWN,
        EnsureAccount(account_id="alice"),
        Answer(created=True),
        Effect(opened=True),
    ),
    Row(
        "an initial balance is a deposit of the creation and no version",
        UNKNOWN,
        EnsureAccount(account_id="alice", initial_balance=500),
        Answer(created=True, balance=500),
        Effect(opened=True, balance=500, entry=("DEPOSIT", {"source": "INITIAL"})),
    ),
    Row(
        "the largest initial balance fits",
        UNKNOWN,
        EnsureAccount(account_id="alice", initial_balance=MAX_CHIPS),
        Answer(created=True, balance=MAX_CHIPS),
        Effect(opened=True, balance=MAX_CHIPS, entry=("DEPOSIT", {"source": "INITIAL"})),
    ),
    Row(
        "an account that exists keeps its balance whatever is asked",
        (account(balance=70),),
        EnsureAccount(account_id="alice", initial_balance=500),
        Answer(balance=70),
    ),
    Row(
        "a frozen account is not opened again",
        FROZEN_ACCOUNT,
        EnsureAccount(account_id="alice"),
        refused(Outcome.ACCOUNT_FROZEN),
    ),
]

DEPOSIT = [
    Row(
        "adds chips",
        (account(balance=100),),
        Deposit(account_id="alice", amount=40),
        applied("DEPOSIT", 40, 100, 140),
        Effect(balance=40, version=1, entry=("DEPOSIT", {})),
    ),
    Row(
        "opens the account when there is none",
        UNKNOWN,
        Deposit(account_id="alice", amount=40, source="CARD"),
        applied("DEPOSIT", 40, 0, 40),
        Effect(opened=True, balance=40, version=1, entry=("DEPOSIT", {"source": "CARD"})),
    ),
    *(
        Row(
            f"source {source} gives {kind}",
            (account(balance=0),),
            Deposit(account_id="alice", amount=1, source=source),
            applied(kind, 1, 0, 1),
            Effect(balance=1, version=1, entry=(kind, {"source": source})),
        )
        for source, kind in [
            ("BONUS", "BONUS"),
            ("REFERRAL", "REFERRAL"),
            ("PAYOUT", "DEPOSIT"),
            ("bonus", "DEPOSIT"),
            ("INITIAL", "DEPOSIT"),
        ]
    ),
    Row(
        "fills the account to the last chip",
        (account(balance=100),),
        Deposit(account_id="alice", amount=MAX_CHIPS - 100),
        applied("DEPOSIT", MAX_CHIPS - 100, 100, MAX_CHIPS),
        Effect(balance=MAX_CHIPS - 100, version=1, entry=("DEPOSIT", {})),
    ),
    Row(
        "one chip more than fits is refused",
        (account(balance=100),),
        Deposit(account_id="alice", amount=MAX_CHIPS - 99),
        refused(Outcome.INVALID_AMOUNT),
        STICKS,
    ),
    Row(
        "a frozen account takes nothing",
        FROZEN_ACCOUNT,
        Deposit(account_id="alice", amount=MAX_CHIPS),
        refused(Outcome.ACCOUNT_FROZEN),
    ),
]

PAYOUT = [
    *(
        Row(
            f"pays as {kind}",
            (account(balance=5),),
            Payout(account_id="alice", amount=20, type=kind, reason="race"),
            applied(kind, 20, 5, 25),
            Effect(balance=20, version=1, entry=(kind, {"reason": "race"})),
        )
        for kind in ("PAYOUT", "BONUS", "REFERRAL")
    ),
    Row(
        "opens the account when there is none",
        UNKNOWN,
        Payout(account_id="alice", amount=20),
        applied("PAYOUT", 20, 0, 20),
        Effect(opened=True, balance=20, version=1, entry=("PAYOUT", {})),
    ),
    Row(
        "one chip more than fits is refused",
        (account(balance=1),),
        Payout(account_id="alice", amount=MAX_CHIPS),
        refused(Outcome.INVALID_AMOUNT),
        STICKS,
    ),
    Row(
        "a frozen account takes nothing",
        FROZEN_ACCOUNT,
        Payout(account_id="alice", amount=1),
        refused(Outcome.ACCOUNT_FROZEN),
    ),
]

WITHDRAW = [
    Row(
        "takes chips out",
        (account(balance=100),),
        Withdraw(account_id="alice", amount=40, reason="fun"),
        applied("WITHDRAW", 40, 100, 60),
        Effect(balance=-40, version=1, entry=("WITHDRAW", {"reason": "fun"})),
    ),
    Row(
        "takes the last chip",
        (account(balance=100),),
        Withdraw(account_id="alice", amount=100),
        applied("WITHDRAW", 100, 100, 0),
        Effect(balance=-100, version=1, entry=("WITHDRAW", {})),
    ),
    Row(
        "one chip too many is refused",
        (account(balance=100),),
        Withdraw(account_id="alice", amount=101),
        refused(Outcome.INSUFFICIENT_BALANCE, 100),
        STICKS,
    ),
    Row(
        "what is held is not available",
        (account(balance=100), reservation(amount=30)),
        Withdraw(account_id="alice", amount=71),
        refused(Outcome.INSUFFICIENT_BALANCE, 70),
        STICKS,
    ),
    Row(
        "what is not held is available to the last chip",
        (account(balance=100), reservation(amount=30)),
        Withdraw(account_id="alice", amount=70),
        applied("WITHDRAW", 70, 100, 30),
        Effect(balance=-70, version=1, entry=("WITHDRAW", {})),
    ),
    Row(
        "a hold past its time is available and ends with the withdrawal",
        (account(balance=100), reservation("past", 60, left_ms=0), reservation("live", 10, left_ms=1)),
        Withdraw(account_id="alice", amount=90),
        applied("WITHDRAW", 90, 100, 10),
        Effect(
            balance=-90,
            version=1,
            reserved=-60,
            reservations={"past": EXPIRED},
            entry=("WITHDRAW", {}),
        ),
    ),
    Row(
        "a hold past its time ends with a refusal too",
        (account(balance=100), reservation("past", 60, left_ms=0), reservation("live", 10, left_ms=1)),
        Withdraw(account_id="alice", amount=91),
        refused(Outcome.INSUFFICIENT_BALANCE, 90),
        Effect(reserved=-60, reservations={"past": EXPIRED}, sticks=True),
    ),
    Row(
        "reservations that have ended hold nothing",
        (
            account(balance=100),
            reservation("a", status=COMMITTED),
            reservation("b", status=RELEASED),
            reservation("c", status=EXPIRED),
        ),
        Withdraw(account_id="alice", amount=100),
        applied("WITHDRAW", 100, 100, 0),
        Effect(balance=-100, version=1, entry=("WITHDRAW", {})),
    ),
    Row(
        "an account that is not there has nothing",
        UNKNOWN,
        Withdraw(account_id="alice", amount=1),
        refused(Outcome.ACCOUNT_NOT_FOUND),
        STICKS,
    ),
    Row(
        "a frozen account gives nothing and its holds stay",
        (account(status=FROZEN), reservation(left_ms=0)),
        Withdraw(account_id="alice", amount=1),
        refused(Outcome.ACCOUNT_FROZEN),
    ),
]

CASH_OUT_50 = CashOut(account_id="alice", table_id="t1", seat_id=4, amount=50, hand_id="h9")
CASHED_OUT_50 = Effect(
    balance=50,
    version=1,
    entry=("CASH_OUT", {"handId": "h9", "seatId": 4, "tableId": "t1"}),
    in_play={"t1": -50},
)

CASH_OUT = [
    Row(
        "brings chips back from the table",
        (account(balance=100),),
        CASH_OUT_50,
        applied("CASH_OUT", 50, 100, 150),
        CASHED_OUT_50,
    ),
    Row(
        "seat 0 is a seat and a missing hand is none",
        (account(balance=100),),
        CashOut(account_id="alice", table_id="t1", amount=50),
        applied("CASH_OUT", 50, 100, 150),
        Effect(
            balance=50,
            version=1,
            entry=("CASH_OUT", {"seatId": 0, "tableId": "t1"}),
            in_play={"t1": -50},
        ),
    ),
    Row(
        "observe counts chips that were never brought there",
        (account(balance=100),),
        CASH_OUT_50,
        applied("CASH_OUT", 50, 100, 150),
        CASHED_OUT_50,
        in_play=0,
    ),
    Row(
        "enforce gives back what is there to the last chip",
        (account(balance=100),),
        CASH_OUT_50,
        applied("CASH_OUT", 50, 100, 150),
        CASHED_OUT_50,
        ENFORCE,
        in_play=50,
    ),
    Row(
        "enforce refuses one chip more than is there",
        (account(balance=100),),
        CASH_OUT_50,
        refused(Outcome.NOT_ON_TABLE),
        STICKS,
        ENFORCE,
        in_play=49,
    ),
    Row(
        "a balance that would pass the range is refused",
        (account(balance=MAX_CHIPS - 49),),
        CASH_OUT_50,
        refused(Outcome.INVALID_AMOUNT),
        STICKS,
    ),
    Row(
        "the range comes before the table",
        (account(balance=MAX_CHIPS),),
        CASH_OUT_50,
        refused(Outcome.INVALID_AMOUNT),
        STICKS,
        ENFORCE,
        in_play=0,
    ),
    Row(
        "opens no account",
        UNKNOWN,
        CASH_OUT_50,
        refused(Outcome.ACCOUNT_NOT_FOUND),
        STICKS,
        ENFORCE,
        in_play=0,
    ),
    Row(
        "a frozen account takes nothing",
        (account(balance=MAX_CHIPS, status=FROZEN),),
        CASH_OUT_50,
        refused(Outcome.ACCOUNT_FROZEN),
        policy=ENFORCE,
        in_play=0,
    ),
]


@pytest.mark.parametrize("row", ENSURE_ACCOUNT, ids=str)
def test_ensure_account(row: Row) -> None:
    """Opens an account once; afterwards it only tells the balance."""
    row.check()


@pytest.mark.parametrize("row", DEPOSIT, ids=str)
def test_deposit(row: Row) -> None:
    """Makes chips; the source gives the type and stays with the entry."""
    row.check()


@pytest.mark.parametrize("row", PAYOUT, ids=str)
def test_payout(row: Row) -> None:
    """Makes chips under the type it names."""
    row.check()


@pytest.mark.parametrize("row", WITHDRAW, ids=str)
def test_withdraw(row: Row) -> None:
    """Ends chips, as far as they are available."""
    row.check()


@pytest.mark.parametrize("row", CASH_OUT, ids=str)
def test_cash_out(row: Row) -> None:
    """Moves chips from the table to the account; under enforce only those that are there."""
    row.check()
