"""Commands on reservations: for each, a table of what is there, what is asked, and what comes of it."""

from dataclasses import replace

import pytest

from app.domain.accounts import FROZEN
from app.domain.commands import Commit, ExpireReservation, Release, Reserve
from app.domain.outcomes import Answer, Outcome
from app.domain.reservations import COMMITTED, EXPIRED, MAX_HOLDS, RELEASED, Reservation
from tests.support.domain import NOW, STICKS, Effect, Row, account, request_of, reservation

ALICE = account(balance=100)
FROZEN_ALICE = account(balance=100, status=FROZEN)
UNKNOWN = ()
RESERVE_30 = Reserve(account_id="alice", table_id="t1", amount=30)
COMMIT, RELEASE, EXPIRE = (command(reservation_id="r1") for command in (Commit, Release, ExpireReservation))
BUYS_IN = Effect(
    balance=-30,
    reserved=-30,
    version=1,
    entry=("BUY_IN", {"reservationId": "r1", "tableId": "t1"}),
    reservations={"r1": COMMITTED},
    in_play={"t1": 30},
)


def holds(count: int) -> list[Reservation]:
    return [reservation(f"h{number}", 1) for number in range(count)]


def made(amount: int, available: int) -> Answer:
    return Answer(amount=amount, available_balance=available, timestamp=NOW)


def ended(available: int) -> Answer:
    return Answer(reservation_id="r1", available_balance=available)


def refused(outcome: Outcome, available: int = 0) -> Answer:
    return Answer(outcome=outcome, available_balance=available)


BOUGHT_IN = Answer(
    reservation_id="r1", type="BUY_IN", amount=30, balance_before=100, balance=70, timestamp=NOW
)
BOUGHT_IN_BEFORE = Answer(
    replayed=True,
    reservation_id="r1",
    transaction_id="of-r1",
    type="BUY_IN",
    amount=30,
    balance_before=100,
    balance=70,
    timestamp=NOW - 5_000,
)
MADE = {request_of(RESERVE_30).record_id: "HELD"}

RESERVE = [
    Row("holds chips", (ALICE,), RESERVE_30, made(30, 70), Effect(reserved=30, reservations=MADE)),
    Row(
        "holds the last chip beside other holds",
        (ALICE, reservation(amount=70)),
        RESERVE_30,
        made(30, 0),
        Effect(reserved=30, reservations=MADE),
    ),
    Row(
        "what is held already is not available",
        (ALICE, reservation(amount=71)),
        RESERVE_30,
        refused(Outcome.INSUFFICIENT_BALANCE, 29),
        STICKS,
    ),
    Row(
        "a hold past its time gives way and is written expired",
        (ALICE, reservation(amount=100, left_ms=0)),
        RESERVE_30,
        made(30, 70),
        Effect(reserved=-70, reservations={"r1": EXPIRED, **MADE}),
    ),
    Row(
        "a hold in its last millisecond does not give way",
        (ALICE, reservation(amount=100, left_ms=1)),
        RESERVE_30,
        refused(Outcome.INSUFFICIENT_BALANCE),
        STICKS,
    ),
    Row(
        "a refusal writes past holds expired too",
        (ALICE, reservation(amount=20, left_ms=-1), reservation("r2", 80)),
        RESERVE_30,
        refused(Outcome.INSUFFICIENT_BALANCE, 20),
        Effect(reserved=-20, reservations={"r1": EXPIRED}, sticks=True),
    ),
    Row(
        "the last of the holds an account may have",
        (ALICE, *holds(MAX_HOLDS - 1)),
        RESERVE_30,
        made(30, 100 - 63 - 30),
        Effect(reserved=30, reservations=MADE),
    ),
    Row(
        "one hold more than an account may have is shed and may be tried again",
        (account(balance=10), *holds(MAX_HOLDS)),
        RESERVE_30,
        refused(Outcome.HOLD_LIMIT, 10 - 64),
    ),
    Row(
        "holds past their time do not count as holds",
        (ALICE, *holds(MAX_HOLDS - 1), reservation("past", 1, left_ms=0)),
        RESERVE_30,
        made(30, 100 - 63 - 30),
        Effect(reserved=29, reservations={"past": EXPIRED, **MADE}),
    ),
    Row(
        "an account that is not there has nothing to hold",
        UNKNOWN,
        RESERVE_30,
        refused(Outcome.ACCOUNT_NOT_FOUND),
        STICKS,
    ),
    Row("a frozen account holds nothing new", (FROZEN_ALICE,), RESERVE_30, refused(Outcome.ACCOUNT_FROZEN)),
]

COMMITS = [
    Row(
        "turns the hold into a buy-in",
        (ALICE, reservation()),
        COMMIT,
        BOUGHT_IN,
        BUYS_IN,
    ),
    Row(
        "counts in the hold's last millisecond and beside other holds",
        (ALICE, reservation(left_ms=1), reservation("r2", 70)),
        COMMIT,
        BOUGHT_IN,
        BUYS_IN,
    ),
    Row(
        "other holds past their time end with it",
        (ALICE, reservation(), reservation("r2", 5, left_ms=0)),
        COMMIT,
        BOUGHT_IN,
        replace(BUYS_IN, reserved=-35, reservations={"r2": EXPIRED, "r1": COMMITTED}),
    ),
    Row(
        "a committed one answers the same transaction and balance again",
        (account(balance=12), reservation(status=COMMITTED)),
        COMMIT,
        BOUGHT_IN_BEFORE,
    ),
    Row(
        "a released one is held no more",
        (ALICE, reservation(status=RELEASED)),
        COMMIT,
        refused(Outcome.RESERVATION_NOT_HELD),
    ),
    Row(
        "an expired one has expired",
        (ALICE, reservation(status=EXPIRED, left_ms=-1)),
        COMMIT,
        refused(Outcome.RESERVATION_EXPIRED, 100),
    ),
    Row(
        "one past its time though not yet swept has expired and is written so",
        (ALICE, reservation(left_ms=0)),
        COMMIT,
        refused(Outcome.RESERVATION_EXPIRED, 100),
        Effect(reserved=-30, reservations={"r1": EXPIRED}),
    ),
    Row(
        "a balance below what is held is debited by nothing",
        (account(balance=29), reservation(amount=30)),
        COMMIT,
        refused(Outcome.INSUFFICIENT_BALANCE, -1),
    ),
    Row("one that never was", UNKNOWN, COMMIT, refused(Outcome.RESERVATION_NOT_FOUND)),
    Row(
        "one of an account that is not there",
        (reservation(),),
        COMMIT,
        refused(Outcome.ACCOUNT_NOT_FOUND),
    ),
    Row(
        "a frozen account buys in nowhere",
        (FROZEN_ALICE, reservation()),
        COMMIT,
        refused(Outcome.ACCOUNT_FROZEN),
    ),
    Row(
        "a frozen account is told before an expiry that is not written",
        (FROZEN_ALICE, reservation(left_ms=0)),
        COMMIT,
        refused(Outcome.ACCOUNT_FROZEN),
    ),
    Row(
        "a frozen account is told before an expiry that is",
        (FROZEN_ALICE, reservation(status=EXPIRED, left_ms=0)),
        COMMIT,
        refused(Outcome.ACCOUNT_FROZEN),
    ),
    Row(
        "a frozen account still tells what was committed",
        (FROZEN_ALICE, reservation(status=COMMITTED)),
        COMMIT,
        BOUGHT_IN_BEFORE,
    ),
]

RELEASES = [
    Row(
        "gives the chips back",
        (ALICE, reservation(), reservation("r2", 20)),
        RELEASE,
        ended(80),
        Effect(reserved=-30, reservations={"r1": RELEASED}),
    ),
    Row(
        "other holds past their time end with it",
        (ALICE, reservation(), reservation("r2", 20, left_ms=0)),
        RELEASE,
        ended(100),
        Effect(reserved=-50, reservations={"r2": EXPIRED, "r1": RELEASED}),
    ),
    Row("a released one answers ok", (ALICE, reservation(status=RELEASED)), RELEASE, ended(100)),
    Row("an expired one answers ok", (ALICE, reservation(status=EXPIRED)), RELEASE, ended(100)),
    Row(
        "one past its time though not yet swept answers ok and is written expired",
        (ALICE, reservation(left_ms=0)),
        RELEASE,
        ended(100),
        Effect(reserved=-30, reservations={"r1": EXPIRED}),
    ),
    Row(
        "a committed one is committed",
        (ALICE, reservation(status=COMMITTED)),
        RELEASE,
        refused(Outcome.ALREADY_COMMITTED),
    ),
    Row("one that never was", UNKNOWN, RELEASE, refused(Outcome.RESERVATION_NOT_FOUND)),
    Row(
        "one of an account that is not there",
        (reservation(),),
        RELEASE,
        refused(Outcome.ACCOUNT_NOT_FOUND),
    ),
    Row(
        "a frozen account keeps its holds",
        (FROZEN_ALICE, reservation()),
        RELEASE,
        refused(Outcome.ACCOUNT_FROZEN),
    ),
    Row(
        "a committed one is told before a frozen account",
        (FROZEN_ALICE, reservation(status=COMMITTED)),
        RELEASE,
        refused(Outcome.ALREADY_COMMITTED),
    ),
]

EXPIRIES = [
    Row(
        "ends a hold past its time",
        (ALICE, reservation(left_ms=0), reservation("r2", 20)),
        EXPIRE,
        Answer(reservation_id="r1"),
        Effect(reserved=-30, reservations={"r1": EXPIRED}),
    ),
    Row(
        "leaves what else is past its time to its own command",
        (ALICE, reservation(left_ms=0), reservation("r2", 20, left_ms=-1)),
        EXPIRE,
        Answer(reservation_id="r1"),
        Effect(reserved=-30, reservations={"r1": EXPIRED}),
    ),
    Row(
        "leaves a hold that is not past its time",
        (ALICE, reservation(left_ms=1)),
        EXPIRE,
        Answer(reservation_id="r1"),
    ),
    *(
        Row(
            f"leaves one that is {status}",
            (ALICE, reservation(status=status, left_ms=-1)),
            EXPIRE,
            Answer(reservation_id="r1"),
        )
        for status in (COMMITTED, RELEASED, EXPIRED)
    ),
    Row("one that never was", UNKNOWN, EXPIRE, refused(Outcome.RESERVATION_NOT_FOUND)),
    Row(
        "a frozen account keeps its holds",
        (FROZEN_ALICE, reservation(left_ms=0)),
        EXPIRE,
        refused(Outcome.ACCOUNT_FROZEN),
    ),
]


@pytest.mark.parametrize("row", RESERVE, ids=str)
def test_reserve(row: Row) -> None:
    """Holds available chips, at most 64 times on one account."""
    row.check()


@pytest.mark.parametrize("row", COMMITS, ids=str)
def test_commit(row: Row) -> None:
    """Turns a held reservation into a buy-in, once."""
    row.check()


@pytest.mark.parametrize("row", RELEASES, ids=str)
def test_release(row: Row) -> None:
    """Gives a held reservation back; one that ended without a buy-in answers ok."""
    row.check()


@pytest.mark.parametrize("row", EXPIRIES, ids=str)
def test_expire(row: Row) -> None:
    """Ends a hold that is past its time, and nothing else."""
    row.check()
