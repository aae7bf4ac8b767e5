"""The steps of the seat cashier as tables: what came of each step, which were taken, and how it ended."""

from collections.abc import Callable
from typing import Any

import pytest
from grpc import StatusCode

from app.client.answers import Payout, Released, Reservation, Settlement, Transaction
from app.client.calls import Call, Winner
from app.client.errors import BalanceError, CallFailed, CircuitOpen, DeadLettered, Refused, Unanswered
from app.client.seats import Join, Leave, Showdown, Step, Steps, join_seat, leave_seat, settle_showdown

JOIN = Join("j1", "anna", "t1", 400, hold_seconds=60)
LEAVE = Leave("l1", "anna", "t1", 3, 350)
SHOWDOWN = Showdown("t1", "h1", (Winner(3, "anna", 100),), folded_seat_ids=(2,))

HELD = Reservation("007-r", 600)
BOUGHT = Transaction("007-t", 600)
FREED = Released(1000)
PAID = Transaction("007-t", 950)
SETTLED = Settlement((Payout("anna", "007-t", 95, 0),))

REFUSED = Refused("", "RESERVATION_EXPIRED")
UNANSWERED = Unanswered("", StatusCode.DEADLINE_EXCEEDED, "", "")
OPEN = CircuitOpen("", 1.0)
PARKED = DeadLettered("", "007-x")
FAILED = CallFailed("", StatusCode.UNAUTHENTICATED, "")
CRASHED = RuntimeError("the table is gone")

TAKE, GIVE_UP, CLEAR, PAY = "take_seat", "give_up_seat", "clear_seat", "pay"
RESERVE, COMMIT, RELEASE = "ReserveForBuyIn", "CommitReservation", "ReleaseReservation"

Row = tuple[str, list[tuple[str, Any]], Any]

JOINS: list[Row] = [
    ("the seat is taken and paid", [(RESERVE, HELD), (TAKE, True), (COMMIT, BOUGHT)], BOUGHT),
    ("no chips, no seat", [(RESERVE, REFUSED)], REFUSED),
    ("nothing known of the hold", [(RESERVE, UNANSWERED)], UNANSWERED),
    ("nothing sent at all", [(RESERVE, OPEN)], OPEN),
    ("the seat is denied", [(RESERVE, HELD), (TAKE, False), (RELEASE, FREED)], None),
    ("the hold ends by itself", [(RESERVE, HELD), (TAKE, False), (RELEASE, UNANSWERED)], None),
    ("the service is away", [(RESERVE, HELD), (TAKE, False), (RELEASE, OPEN)], None),
    ("paid before, denied now", [(RESERVE, HELD), (TAKE, False), (RELEASE, REFUSED)], REFUSED),
    ("the table fails", [(RESERVE, HELD), (TAKE, CRASHED), (RELEASE, FREED)], CRASHED),
    ("the table fails, the hold stays", [(RESERVE, HELD), (TAKE, CRASHED), (RELEASE, REFUSED)], CRASHED),
    (
        "a seat that cannot be paid",
        [(RESERVE, HELD), (TAKE, True), (COMMIT, REFUSED), (GIVE_UP, None), (RELEASE, FREED)],
        REFUSED,
    ),
    (
        "a frozen account keeps its hold until it ends",
        [(RESERVE, HELD), (TAKE, True), (COMMIT, REFUSED), (GIVE_UP, None), (RELEASE, REFUSED)],
        REFUSED,
    ),
    (
        "a seat that cannot be given up",
        [(RESERVE, HELD), (TAKE, True), (COMMIT, REFUSED), (GIVE_UP, CRASHED)],
        CRASHED,
    ),
    ("nothing known of the buy-in", [(RESERVE, HELD), (TAKE, True), (COMMIT, UNANSWERED)], UNANSWERED),
    ("the buy-in is parked", [(RESERVE, HELD), (TAKE, True), (COMMIT, PARKED)], PARKED),
    ("the token ran out", [(RESERVE, HELD), (TAKE, True), (COMMIT, FAILED)], FAILED),
]

CASH_OUT = "ProcessCashOut"
LEAVES: list[Row] = [
    ("chips first, then the seat", [(CASH_OUT, PAID), (CLEAR, None)], PAID),
    ("not paid, not cleared", [(CASH_OUT, REFUSED)], REFUSED),
    ("not known, not cleared", [(CASH_OUT, UNANSWERED)], UNANSWERED),
    ("the table fails", [(CASH_OUT, PAID), (CLEAR, CRASHED)], CRASHED),
]

SETTLE = "SettlePot"
SHOWDOWNS: list[Row] = [
    ("settled, then paid", [(SETTLE, SETTLED), (PAY, None)], SETTLED),
    ("not settled, not paid", [(SETTLE, REFUSED)], REFUSED),
    ("not known, not paid", [(SETTLE, UNANSWERED)], UNANSWERED),
    ("the table fails", [(SETTLE, SETTLED), (PAY, CRASHED)], CRASHED),
]


class Driver:
    """Takes the steps, lets come of each what the row says, and remembers the calls."""

    def __init__(self, row: Row) -> None:
        _, self._script, self._end = row
        self.calls: dict[str, Any] = {}

    def deed(self, name: str) -> Callable[..., str]:
        return lambda *_: name

    def run(self, steps: Steps[Any]) -> None:
        """Compare the steps and the end."""
        end = self._taken(steps)
        assert end == self._end

    def _taken(self, steps: Steps[Any]) -> Any:
        """Take each step of the row; what the whole returns or raises."""
        try:
            step = next(steps)
            for name, outcome in self._script:
                assert self._name(step) == name
                step = steps.throw(outcome) if isinstance(outcome, Exception) else steps.send(outcome)
        except StopIteration as done:
            return done.value
        except (BalanceError, RuntimeError) as error:
            return error
        return f"one step too many: {self._name(step)}"

    def _name(self, step: Step) -> str:
        if isinstance(step, Call):
            self.calls[step.method] = step.request
            return step.method
        name: str = step()
        return name


def named(rows: list[Row]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", rows, ids=[row[0] for row in rows])


@named(JOINS)
def test_joining_a_seat(row: Row) -> None:
    """The chips are held before the seat is taken, and paid after it; what cannot go on is undone."""
    driver = Driver(row)
    driver.run(join_seat(JOIN, driver.deed(TAKE), driver.deed(GIVE_UP)))
    reserve = driver.calls[RESERVE]
    assert (reserve.account_id, reserve.table_id, reserve.amount) == ("anna", "t1", 400)
    assert (reserve.idempotency_key, reserve.timeout_seconds) == ("join:j1", 60)
    for method in driver.calls.keys() - {RESERVE}:
        assert driver.calls[method].reservation_id == "007-r"


@named(LEAVES)
def test_leaving_a_seat(row: Row) -> None:
    """The seat is cleared only once the chips are certainly home."""
    driver = Driver(row)
    driver.run(leave_seat(LEAVE, driver.deed(CLEAR)))
    request = driver.calls[CASH_OUT]
    assert (request.account_id, request.table_id, request.seat_id) == ("anna", "t1", 3)
    assert (request.amount, request.idempotency_key) == (350, "leave:l1")


def test_leaving_without_chips() -> None:
    """There is nothing to bring home, and a cash-out of nothing would be malformed."""
    driver = Driver(("broke", [(CLEAR, None)], None))
    driver.run(leave_seat(Leave("l1", "anna", "t1", 3, 0), driver.deed(CLEAR)))


@named(SHOWDOWNS)
def test_settling_a_showdown(row: Row) -> None:
    """The pot goes back onto the table, under a key that every run of this hand shares."""
    driver = Driver(row)
    driver.run(settle_showdown(SHOWDOWN, driver.deed(PAY)))
    request = driver.calls[SETTLE]
    assert (request.table_id, request.hand_id, request.idempotency_key) == ("t1", "h1", "settle:h1")
    assert request.payout_to == request.TABLE
    assert [(each.seat_id, each.account_id, each.amount) for each in request.winners] == [(3, "anna", 100)]
    assert list(request.folded_seat_ids) == [2]


def test_stacks_get_what_the_answer_says() -> None:
    """Not what the poker service asked for: rake is off already."""
    stacks: list[Any] = []
    steps = settle_showdown(SHOWDOWN, stacks.append)
    next(steps)
    pay = steps.send(SETTLED)
    assert not isinstance(pay, Call)
    pay()
    assert stacks == [SETTLED.payouts]
