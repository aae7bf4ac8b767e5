"""Notes the answers whose states are kept, for the commit that gives them."""

from msgspec.structs import replace

from app.domain.commands import Payout
from app.domain.outcomes import Answer, Outcome
from app.domain.replays import made_here
from app.domain.state import State
from app.services.changes import Changes
from app.services.tracking import ItemFailure, Settled
from app.services.work import Work


def note(work: Work, answer: Answer, changes: Changes, state: State) -> None:
    """Add the state of the work to the changes, where it is kept. Call after the state has applied it.

    A command that was applied in an earlier try, whose message stayed, was applied and not replayed.
    """
    if work.track is None:
        return
    replayed = answer.replayed and not (work.request and made_here(state, work.request))
    changes.settled.append(
        Settled(
            partition=work.delivery.partition,
            command_id=work.command_id,
            track=work.track,
            answer=replace(answer, replayed=replayed),
            replayed=replayed,
            failure=None if answer.ok else _failure(work, answer),
        )
    )


def _failure(work: Work, answer: Answer) -> ItemFailure:
    parked = answer.detail if answer.outcome is Outcome.DEAD_LETTERED else ""
    request = work.request
    if request is None or not isinstance(request.command, Payout):
        return ItemFailure(code=answer.outcome, dead_letter_id=parked)
    command = request.command
    return ItemFailure(
        code=answer.outcome,
        dead_letter_id=parked,
        account_id=command.account_id,
        amount=command.amount,
        type=command.type,
        reason=command.reason,
        key=request.key,
    )
