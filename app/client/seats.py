"""The three changes of a seat that move chips, step by step and pure.

A step is a call of the balance service or a deed of the poker service; whoever drives the steps hands back
what came of each. Keys come from the poker service's own ids, so that a step made again is the same command.
After a crash there is one rule, wherever it struck: **do it again, with the same ids**. What that finds:

    join_seat: reserve, take_seat, commit
      died before the reservation     nothing was done; it begins
      died before the seat was taken  the same reservation, and it goes on
                                      (if it is never done again, the hold ends by itself)
      died before the buy-in          the same reservation, the seat is taken, the buy-in is paid
                                      (if the hold has ended meanwhile, the seat is given up: Refused)
      died after the buy-in           the same transaction again

    leave_seat: cash out, clear_seat
      died before the cash-out        nothing was done; it begins
      died before the clearing        the same transaction again; the seat is cleared
      died after it                   the same transaction again; a cleared seat stays cleared

    settle_showdown: settle the pot, pay
      died before the settlement      nothing was done; it begins
      died before the stacks grew     the same results again; the stacks grow
      died after it                   the same results again; a paid hand stays paid

The poker service keeps its half by three rules. Each deed is safe to repeat: it is recorded, in one write,
with the join, leave or hand id it belongs to. A seat plays only once join_seat has returned. A stack does not
change between the first leave_seat and the last.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from . import calls
from .answers import Payout, Reservation, Settlement, Transaction
from .calls import Call, PayoutTo, Winner
from .errors import BalanceError, CircuitOpen, Refused, Unanswered

Result = TypeVar("Result")
Step = Call[Any] | Callable[[], Any]
Steps = Generator[Step, Any, Result]


@dataclass(frozen=True, slots=True)
class Join:
    """A player's wish for a seat. `join_id` names one attempt: after a failed one, the next has its own.

    Keep it whole, to do it again as it was: with another amount or hold it would be another command. A poker
    service that died has `hold_seconds` to come back and finish.
    """

    join_id: str
    account_id: str
    table_id: str
    amount: int
    hold_seconds: int = 120


@dataclass(frozen=True, slots=True)
class Leave:
    """A player's stack going home. The amount may be 0: then only the seat is cleared."""

    leave_id: str
    account_id: str
    table_id: str
    seat_id: int
    amount: int


@dataclass(frozen=True, slots=True)
class Showdown:
    """The end of a hand: who is to be paid what from the pot."""

    table_id: str
    hand_id: str
    winners: tuple[Winner, ...]
    folded_seat_ids: tuple[int, ...] = ()


def join_seat(
    join: Join, take_seat: Callable[[], Any], give_up_seat: Callable[[], Any]
) -> Steps[Transaction | None]:
    """Hold the chips, take the seat, pay. None when `take_seat` said no; the chips are free again.

    `take_seat` answers whether this join has the seat, also when it took it in an earlier run. Raises what it
    raises; Refused when the chips cannot be held, or cannot be paid any more (then the seat was given up).
    After Unanswered or CircuitOpen nothing is decided: do it again.
    """
    held: Reservation = yield calls.reserve(
        join.account_id,
        join.table_id,
        join.amount,
        timeout_seconds=join.hold_seconds,
        idempotency_key=f"join:{join.join_id}",
    )
    give_back = calls.release(held.reservation_id, reason="no seat")
    try:
        seated = yield take_seat
    except Exception:
        with _ending_by_itself(BalanceError):
            yield give_back
        raise
    if not seated:
        # ALREADY_COMMITTED, an earlier run paid for the seat that is denied now, is raised: nobody may guess.
        with _ending_by_itself(Unanswered, CircuitOpen):
            yield give_back
        return None
    try:
        bought: Transaction = yield calls.commit(held.reservation_id)
    except Refused:
        yield give_up_seat
        with _ending_by_itself(BalanceError):
            yield give_back
        raise
    return bought


def leave_seat(leave: Leave, clear_seat: Callable[[], Any]) -> Steps[Transaction | None]:
    """Bring the chips home, and only once that is certain clear the seat. None when there were no chips."""
    paid: Transaction | None = None
    if leave.amount:
        paid = yield calls.cash_out(
            leave.account_id,
            leave.table_id,
            leave.seat_id,
            leave.amount,
            idempotency_key=f"leave:{leave.leave_id}",
        )
    yield clear_seat
    return paid


def settle_showdown(showdown: Showdown, pay: Callable[[tuple[Payout, ...]], Any]) -> Steps[Settlement]:
    """Settle the pot back onto the table, then add to the stacks what the answer says, and nothing else."""
    settled: Settlement = yield calls.settle_pot(
        showdown.table_id,
        showdown.hand_id,
        showdown.winners,
        payout_to=PayoutTo.TABLE,
        folded_seat_ids=showdown.folded_seat_ids,
        # Of this table: the service keeps keys apart by table.
        idempotency_key=f"settle:{showdown.hand_id}",
    )
    yield partial(pay, settled.payouts)
    return settled


@contextmanager
def _ending_by_itself(*errors: type[BalanceError]) -> Iterator[None]:
    """Giving a hold back is a courtesy: one that cannot be given back now ends when its time is up."""
    try:
        yield
    except errors:
        return
