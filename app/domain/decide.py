"""`decide(state, request, now, policy)`: the one way a command becomes a Decision. Pure.

Order of checks (DESIGN 5): stored outcome, age, deadline, then the rules of the command, which refuse a
frozen account before anything else of their own. A replay of a parked command has no age: it runs while its
dead letter waits for it, and says in the Decision what becomes of that.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from app.domain.commands import (
    Adjust,
    CancelPot,
    CashOut,
    Command,
    Commit,
    Deposit,
    EnsureAccount,
    ExpireReservation,
    FreezeAccount,
    LeaveTable,
    Payout,
    PayTogether,
    RecordContribution,
    Release,
    Reserve,
    SettlePot,
    UnfreezeAccount,
    Withdraw,
)
from app.domain.invariants import prove
from app.domain.outcomes import Answer, Outcome
from app.domain.policy import Policy
from app.domain.replays import may_replay, replayed_letter, stored_answer
from app.domain.requests import Request
from app.domain.rules import accounts, ops, payouts, pots, reservations
from app.domain.rules.case import Case
from app.domain.state import Decision, State

_RULES: dict[type[Command], Callable[[Case, Any], Decision]] = {
    EnsureAccount: accounts.ensure_account,
    Deposit: accounts.deposit,
    Withdraw: accounts.withdraw,
    Payout: accounts.payout,
    PayTogether: payouts.pay_together,
    CashOut: accounts.cash_out,
    Reserve: reservations.reserve,
    Commit: reservations.commit,
    Release: reservations.release,
    ExpireReservation: reservations.expire,
    RecordContribution: pots.record_contribution,
    SettlePot: pots.settle_pot,
    CancelPot: pots.cancel_pot,
    FreezeAccount: ops.freeze_account,
    UnfreezeAccount: ops.unfreeze_account,
    Adjust: ops.adjust,
    LeaveTable: ops.leave_table,
}


def decide(state: State, request: Request, now: int, policy: Policy) -> Decision:
    """What the request leads to on this state at `now` (ms since the epoch). Changes nothing.

    Raises InvariantBroken, a fault, when the decision breaks what must hold of each (see `invariants`).
    """
    decision = _decided(state, request, now, policy)
    letter = replayed_letter(state, request)
    if letter is None:
        return decision
    letter = letter.answered(decision.answer, now)
    held = state.refusals.get(request.refusal_key) if request.command.keyed and letter.closed else None
    return replace(decision, dead_letter=letter, refusal=decision.refusal or held)


def _decided(state: State, request: Request, now: int, policy: Policy) -> Decision:
    stored = stored_answer(state, request)
    if stored is not None:
        return Decision(stored)
    clock = now - state.ahead
    if request.replay_of:
        if not may_replay(state, request):
            return Decision(Answer(outcome=Outcome.EXPIRED))
    elif clock - request.arrived_at > policy.refusal_ttl_ms:
        return Decision(Answer(outcome=Outcome.EXPIRED))
    if request.deadline_at and clock > request.deadline_at:
        return Decision(Answer(outcome=Outcome.DROPPED))
    case = Case(state, request, now, policy)
    decision = _RULES[type(request.command)](case, request.command)
    prove(state, request.command, decision)
    return decision
