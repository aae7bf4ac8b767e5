"""Answers that exist already: the same key gives the same outcome, found by its derived record.

A parked command has its outcome too, DEAD_LETTERED, for everybody but the one replay that may run now.
"""

from msgspec.structs import replace

from app.domain.dead_letters import DeadLetter
from app.domain.ledger import LedgerEntry
from app.domain.outcomes import Answer, Outcome
from app.domain.records import RefusalRecord
from app.domain.requests import Request
from app.domain.reservations import Reservation
from app.domain.state import State

_REUSED = Answer(outcome=Outcome.IDEMPOTENCY_KEY_REUSED)


def stored_answer(state: State, request: Request) -> Answer | None:
    """The answer this key already has, IDEMPOTENCY_KEY_REUSED for other content, or None when it is new.

    What was applied counts before what was refused: the permanent record is the stronger witness.
    """
    if not request.command.keyed:
        return None
    if request.is_reserve:
        reservation = state.reservations[request.record_id]
        if reservation is not None:
            same = reservation.fingerprint == request.fingerprint
            return answer_of_reservation(reservation) if same else _REUSED
    elif request.is_on_pot:
        answered = state.answers[request.record_id]
        if answered is not None:
            same = answered.fingerprint == request.fingerprint
            return replace(answered.answer, replayed=True) if same else _REUSED
    else:
        record = state.transactions[request.record_id]
        if record is not None:
            if record.fingerprint != request.fingerprint:
                return _REUSED
            entry = state.entries[record.account_id, record.seq]
            if entry is None:  # its ledger is broken, and has frozen the account
                return Answer(outcome=Outcome.ACCOUNT_FROZEN)
            return replace(answer_of_entry(entry), replayed=True)
    if replayed_letter(state, request) is not None and _is_held(state, request):
        return None
    return _stored_refusal(state.refusals[request.refusal_key], request)


def replayed_letter(state: State, request: Request) -> DeadLetter | None:
    """The dead letter that this request replays, None unless it is the one replay that was asked for last."""
    letter = state.dead_letters.get(request.replay_of) if request.replay_of else None
    return letter if letter is not None and letter.replaying == request.replay_number > 0 else None


def may_replay(state: State, request: Request) -> bool:
    """True for the replay that may run: its dead letter waits for it, and still holds the key, if any."""
    if replayed_letter(state, request) is None:
        return False
    return not request.command.keyed or _is_held(state, request)


def _is_held(state: State, request: Request) -> bool:
    """Whether the key is held by the very dead letter that the request replays."""
    refusal = state.refusals[request.refusal_key]
    parked = Answer(outcome=Outcome.DEAD_LETTERED, detail=request.replay_of)
    return refusal == RefusalRecord(fingerprint=request.fingerprint, answer=parked)


def _stored_refusal(refusal: RefusalRecord | None, request: Request) -> Answer | None:
    if refusal is None:
        return None
    if refusal.fingerprint != request.fingerprint:
        return _REUSED
    return replace(refusal.answer, replayed=True)


def made_here(state: State, request: Request) -> bool:
    """True when the change that answers the request was made by this very command, now or in an earlier try.

    False when it was another command under the same key, and for what leaves no ledger entry.
    """
    record = state.transactions.get(request.record_id)
    entry = state.entries.get((record.account_id, record.seq)) if record else None
    return entry is not None and entry.command_id == (request.command_id or None)


def answer_of_reservation(reservation: Reservation) -> Answer:
    """What ReserveForBuyIn answered when this reservation was made."""
    return Answer(
        replayed=True,
        reservation_id=reservation.reservation_id,
        amount=reservation.amount,
        available_balance=reservation.available_balance,
        timestamp=reservation.created_at,
    )


def answer_of_entry(entry: LedgerEntry) -> Answer:
    """What a command that made this ledger entry answers."""
    return Answer(
        transaction_id=entry.transaction_id,
        type=entry.type,
        amount=abs(entry.amount),
        balance_before=entry.balance_before,
        balance=entry.balance_after,
        timestamp=entry.timestamp,
    )
