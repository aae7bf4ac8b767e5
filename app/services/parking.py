"""Parking: a command that cannot be carried out is put where ops see it, with its reason, for good.

A replay that cannot be carried out either goes back to the dead letter it came from.
"""

import msgspec

from app.domain.commands import Command, EnsureAccount, PayTogether, SettlePot
from app.domain.dead_letters import DeadLetter
from app.domain.outcomes import Answer, Outcome
from app.domain.records import RefusalRecord
from app.domain.replays import replayed_letter
from app.domain.state import State
from app.services.changes import Changes
from app.services.work import Work


class _Traced(msgspec.Struct):
    trace: str = ""


_trace_in = msgspec.json.Decoder(_Traced).decode


def park(work: Work, state: State, changes: Changes, now: int) -> Answer:
    """Add the dead letter to the changes; the answer that names it.

    Its key, where it has one, is held by a record without expiry: a retry gets DEAD_LETTERED with this id.
    """
    request = work.request
    if request is not None and request.replay_of:
        return _park_again(work, state, changes, now)
    letter = _dead_letter(work, now)
    answer = Answer(outcome=Outcome.DEAD_LETTERED, detail=letter.dead_letter_id)
    changes.dead_letters.append(letter)
    if request is not None and request.key:
        changes.refusals[request.refusal_key] = RefusalRecord(fingerprint=request.fingerprint, answer=answer)
        state.refusals.update(changes.refusals)  # a second command of that key is a retry
    return answer


def _park_again(work: Work, state: State, changes: Changes, now: int) -> Answer:
    """Its dead letter, and the record that holds its key, are there still: the letter tells of the replay."""
    assert work.request is not None  # noqa: S101  # what has no request is no replay
    letter = replayed_letter(state, work.request)
    if letter is not None:
        letter = letter.parked_again(work.parking_reason, len(work.faults), now)
        changes.add_letter(state, letter)
        state.dead_letters[letter.dead_letter_id] = letter
    return Answer(outcome=Outcome.DEAD_LETTERED, detail=work.request.replay_of)


def _dead_letter(work: Work, now: int) -> DeadLetter:
    delivery, request = work.delivery, work.request
    command = request.command if request else None
    return DeadLetter(
        dead_letter_id=f"{delivery.partition:03d}-{delivery.lane[0]}-{delivery.entry_id}-{work.index}",
        partition=delivery.partition,
        lane=delivery.lane,
        entry_id=delivery.entry_id,
        raw=work.raw,
        error=work.parking_reason,
        attempts=len(work.faults),
        arrived_at=delivery.arrived_at,
        parked_at=now,
        kind=command.kind if command else "",
        key=request.key if request else "",
        command_id=request.command_id if request else "",
        account_id=getattr(command, "account_id", ""),
        table_id=getattr(command, "table_id", ""),
        reservation_id=getattr(command, "reservation_id", ""),
        amount=_amount_of(command),
        trace=_trace_of(work.raw),
    )


def _amount_of(command: Command | None) -> int:
    """The chips that the command is about, as far as it names them."""
    match command:
        case SettlePot():
            return sum(winner.amount for winner in command.winners)
        case PayTogether():
            return sum(part.amount for part in command.parts)
        case EnsureAccount():
            return command.initial_balance
    amount: int = getattr(command, "amount", 0) or getattr(command, "change", 0)
    return abs(amount)


def _trace_of(raw: str) -> str:
    """The trace that the envelope carries, "" where there is none or the envelope cannot be read."""
    try:
        return _trace_in(raw).trace
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return ""
