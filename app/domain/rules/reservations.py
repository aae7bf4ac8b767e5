"""Commands on reservations: reserve, commit, release, expire (life cycle of CONTRACT 3)."""

from msgspec.structs import replace

from app.domain.commands import Commit, ExpireReservation, Release, Reserve
from app.domain.ledger import Metadata, TransactionType
from app.domain.outcomes import Answer, Outcome
from app.domain.reservations import COMMITTED, EXPIRED, HELD, MAX_HOLDS, RELEASED, Reservation
from app.domain.rules.case import Case
from app.domain.state import AccountEffect, Decision, TableChange


def reserve(case: Case, command: Reserve) -> Decision:
    """Hold available chips for a buy-in."""
    account = case.state.accounts[command.account_id]
    if account is None:
        return case.refuse(Outcome.ACCOUNT_NOT_FOUND)
    if account.frozen:
        return case.refuse(Outcome.ACCOUNT_FROZEN)
    swept = case.sweep(account)
    if len(swept.live) >= MAX_HOLDS:
        return case.refuse(Outcome.HOLD_LIMIT, available_balance=swept.available, swept=swept)
    if swept.available < command.amount:
        return case.refuse(Outcome.INSUFFICIENT_BALANCE, available_balance=swept.available, swept=swept)
    timeout_ms = command.timeout_seconds * 1000 or case.policy.reservation_timeout_ms
    made = Reservation(
        reservation_id=case.request.record_id,
        account_id=command.account_id,
        table_id=command.table_id,
        amount=command.amount,
        status=HELD,
        created_at=case.now,
        expires_at=case.now + timeout_ms,
        fingerprint=case.request.fingerprint,
        available_balance=swept.available - command.amount,
    )
    reserved = swept.account.reserved + command.amount
    return Decision(
        Answer(
            reservation_id=made.reservation_id,
            amount=made.amount,
            available_balance=made.available_balance,
            timestamp=case.now,
        ),
        accounts=(AccountEffect(replace(swept.account, reserved=reserved, updated_at=case.now)),),
        reservations=(*swept.expired, made),
    )


def commit(case: Case, command: Commit) -> Decision:
    """Turn a held reservation into a buy-in; a committed one answers the same again."""
    reservation = case.state.reservations[command.reservation_id]
    if reservation is None:
        return case.refuse(Outcome.RESERVATION_NOT_FOUND)
    if reservation.status == COMMITTED:
        return Decision(_committed(reservation, replayed=True))
    if reservation.status == RELEASED:
        return case.refuse(Outcome.RESERVATION_NOT_HELD)
    account = case.state.accounts[reservation.account_id]
    if account is None:
        return case.refuse(Outcome.ACCOUNT_NOT_FOUND)
    if account.frozen:
        return case.refuse(Outcome.ACCOUNT_FROZEN)
    swept = case.sweep(account)
    if reservation.status == EXPIRED or reservation.is_past(case.now):
        return case.refuse(Outcome.RESERVATION_EXPIRED, available_balance=swept.available, swept=swept)
    if swept.available < 0:
        return case.refuse(Outcome.INSUFFICIENT_BALANCE, available_balance=swept.available, swept=swept)
    metadata = Metadata(reservation_id=reservation.reservation_id, table_id=reservation.table_id)
    freed = replace(swept.account, reserved=swept.account.reserved - reservation.amount)
    account, posting = case.post(freed, -reservation.amount, TransactionType.BUY_IN, metadata)
    done = replace(
        reservation,
        status=COMMITTED,
        committed_at=case.now,
        transaction_id=posting.entry.transaction_id,
        new_balance=account.balance,
    )
    return Decision(
        _committed(done),
        accounts=(AccountEffect(account, (posting,)),),
        fingerprint=case.request.fingerprint,
        reservations=(*swept.expired, done),
        tables=(TableChange(reservation.table_id, reservation.account_id, reservation.amount),),
    )


def release(case: Case, command: Release) -> Decision:
    """Give a held reservation back; one that has ended without a buy-in answers ok."""
    reservation = case.state.reservations[command.reservation_id]
    if reservation is None:
        return case.refuse(Outcome.RESERVATION_NOT_FOUND)
    if reservation.status == COMMITTED:
        return case.refuse(Outcome.ALREADY_COMMITTED)
    return _give_back(case, reservation)


def expire(case: Case, command: ExpireReservation) -> Decision:
    """End a hold that is past its time; one that is not, or that has ended, is left as it is.

    It ends that hold alone: each other one past its time gets its own command.
    """
    reservation = case.state.reservations[command.reservation_id]
    if reservation is None:
        return case.refuse(Outcome.RESERVATION_NOT_FOUND)
    if reservation.status != HELD or not reservation.is_past(case.now):
        return Decision(Answer(reservation_id=reservation.reservation_id))
    account = case.state.accounts[reservation.account_id]
    if account is None:
        return case.refuse(Outcome.ACCOUNT_NOT_FOUND)
    if account.frozen:
        return case.refuse(Outcome.ACCOUNT_FROZEN)
    account = replace(account, reserved=account.reserved - reservation.amount, updated_at=case.now)
    return Decision(
        Answer(reservation_id=reservation.reservation_id),
        accounts=(AccountEffect(account),),
        reservations=(reservation.end(EXPIRED, case.now),),
    )


def _give_back(case: Case, reservation: Reservation) -> Decision:
    account = case.state.accounts[reservation.account_id]
    if account is None:
        return case.refuse(Outcome.ACCOUNT_NOT_FOUND)
    if account.frozen:
        return case.refuse(Outcome.ACCOUNT_FROZEN)
    swept = case.sweep(account)
    reservation_id = reservation.reservation_id
    if reservation.status != HELD or reservation.is_past(case.now):  # ended before, or by the sweep just now
        answer = Answer(reservation_id=reservation_id, available_balance=swept.available)
        return Decision(answer, accounts=swept.changes, reservations=swept.expired)
    account = replace(
        swept.account, reserved=swept.account.reserved - reservation.amount, updated_at=case.now
    )
    return Decision(
        Answer(reservation_id=reservation_id, available_balance=swept.available + reservation.amount),
        accounts=(AccountEffect(account),),
        reservations=(*swept.expired, reservation.end(RELEASED, case.now)),
    )


def _committed(reservation: Reservation, *, replayed: bool = False) -> Answer:
    return Answer(
        replayed=replayed,
        reservation_id=reservation.reservation_id,
        transaction_id=reservation.transaction_id,
        type=TransactionType.BUY_IN,
        amount=reservation.amount,
        balance=reservation.new_balance,
        balance_before=reservation.new_balance + reservation.amount,
        timestamp=reservation.committed_at,
    )
