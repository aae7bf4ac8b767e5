"""Notes the answers whose states are kept, for the commit that gives them."""

from msgspec.structs import replace

from app.domain.commands import Payout
from app.domain.outcomes import Answer, Outcome
from app.domain.replays import made_here
from app.domain.requests import Request
from app.domain.state import Decision, State
from app.services.changes import Changes
from app.services.tracking import ItemFailure, Settled, Track
from app.services.work import Work

ALL_OR_NOTHING = "ALL_OR_NOTHING"
"""Why a line was not paid that would have been, but for another one."""


def answer_to_keep(request: Request, decision: Decision) -> Answer | None:
    """What the state of a command says after a decision, None when it stays as it is.

    Only a replay can leave it so: one that leaves its dead letter parked, and one that may not run.
    """
    if decision.dead_letter is not None:
        return decision.answer if decision.dead_letter.closed else None
    is_void = request.replay_of and decision.answer.outcome is Outcome.EXPIRED
    return None if is_void else decision.answer


def note(work: Work, answer: Answer, changes: Changes, state: State) -> None:
    """Add the state of the work to the changes, where it is kept. Call after the state has applied it.

    A command that was applied in an earlier try, whose message stayed, was applied and not replayed.
    """
    if work.track is None:
        return
    request = work.request
    if request is None or not request.parts:
        replayed = answer.replayed and not (request and made_here(state, request))
        changes.settled.append(_settled(work, work.track, request, replace(answer, replayed=replayed)))
        return
    for part in request.parts:
        line = part.command_id.rpartition("#")[2]
        told = replace(answer, replayed=answer.ok and not made_here(state, part))
        is_cause = bool(work.parking_reason) or answer.detail == line or _is_held(state, part, answer)
        track = replace(work.track, line=int(line))
        changes.settled.append(_settled(work, track, part, told, is_cause=is_cause))


def _is_held(state: State, part: Request, answer: Answer) -> bool:
    """Whether it is this part's key that the dead letter of the answer holds: one of an earlier command."""
    held = state.refusals.get(part.refusal_key)
    return held is not None and held.answer.outcome is answer.outcome and held.answer.detail == answer.detail


def _settled(
    work: Work, track: Track, request: Request | None, answer: Answer, *, is_cause: bool = True
) -> Settled:
    return Settled(
        partition=work.delivery.partition,
        command_id=work.command_id,
        track=track,
        answer=answer,
        replayed=answer.replayed,
        failure=None if answer.ok else _failure(request, answer, is_cause=is_cause),
    )


def _failure(request: Request | None, answer: Answer, *, is_cause: bool) -> ItemFailure:
    is_parked = is_cause and answer.outcome is Outcome.DEAD_LETTERED
    failure = ItemFailure(
        code=answer.outcome if is_cause else ALL_OR_NOTHING,
        dead_letter_id=answer.detail if is_parked else "",
    )
    if request is None or not isinstance(request.command, Payout):
        return failure
    command = request.command
    return replace(
        failure,
        account_id=command.account_id,
        amount=command.amount,
        type=command.type,
        reason=command.reason,
        key=request.key,
    )
