"""Parking: a command that cannot be carried out is put where ops see it, with its reason, for good."""

from app.domain.outcomes import Answer, Outcome
from app.domain.records import RefusalRecord
from app.services.changes import Changes, DeadLetter
from app.services.work import Work


def park(work: Work, changes: Changes, now: int) -> Answer:
    """Add the dead letter to the changes; the answer that names it.

    Its key, where it has one, is held by a record without expiry: a retry gets DEAD_LETTERED with this id.
    """
    letter = _dead_letter(work, now)
    answer = Answer(outcome=Outcome.DEAD_LETTERED, detail=letter.dead_letter_id)
    changes.dead_letters.append(letter)
    request = work.request
    if request is not None and request.key:
        changes.refusals[request.refusal_key] = RefusalRecord(fingerprint=request.fingerprint, answer=answer)
    return answer


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
        amount=getattr(command, "amount", 0),
    )
