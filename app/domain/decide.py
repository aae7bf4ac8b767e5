"""`decide(state, request, now, policy)`: the one way a command becomes a Decision. Pure.

Order of checks (DESIGN 5): stored outcome, age, deadline, then the rules of the command, which refuse a
frozen account before anything else of their own.
"""

from collections.abc import Callable
from typing import Any

from app.domain.amounts import MAX_CHIPS
from app.domain.commands import (
    CashOut,
    Command,
    Commit,
    Deposit,
    EnsureAccount,
    ExpireReservation,
    Payout,
    Release,
    Reserve,
    Withdraw,
)
from app.domain.outcomes import Answer, Outcome
from app.domain.policy import Policy
from app.domain.replays import stored_answer
from app.domain.requests import Request
from app.domain.rules import accounts, reservations
from app.domain.rules.case import Case
from app.domain.state import Decision, State

_RULES: dict[type[Command], Callable[[Case, Any], Decision]] = {
    EnsureAccount: accounts.ensure_account,
    Deposit: accounts.deposit,
    Withdraw: accounts.withdraw,
    Payout: accounts.payout,
    CashOut: accounts.cash_out,
    Reserve: reservations.reserve,
    Commit: reservations.commit,
    Release: reservations.release,
    ExpireReservation: reservations.expire,
}


class InvariantBroken(AssertionError):
    """A fault of ours: a rule, or a record it relied on, is wrong. The command is not applied."""


def decide(state: State, request: Request, now: int, policy: Policy) -> Decision:
    """What the request leads to on this state at `now` (ms since the epoch). Changes nothing.

    Raises InvariantBroken, a fault, when the decision would leave an account as none may be.
    """
    stored = stored_answer(state, request)
    if stored is not None:
        return Decision(stored)
    if now - request.arrived_at > policy.refusal_ttl_ms:
        return Decision(Answer(outcome=Outcome.EXPIRED))
    if request.deadline_at and now > request.deadline_at:
        return Decision(Answer(outcome=Outcome.DROPPED))
    case = Case(state, request, now, policy)
    decision = _RULES[type(request.command)](case, request.command)
    _prove(decision)
    return decision


def _prove(decision: Decision) -> None:
    """Raise InvariantBroken rather than let a decision through that no rule may take."""
    account, posting = decision.account, decision.posting
    if account is None:
        if posting is not None:
            raise InvariantBroken("a ledger entry without its account")
        return
    if not 0 <= account.reserved <= account.balance <= MAX_CHIPS:
        raise InvariantBroken(f"balance {account.balance} with {account.reserved} held")
    if posting is not None and (posting.entry.balance_after, posting.entry.seq) != (
        account.balance,
        account.seq,
    ):
        raise InvariantBroken("the ledger entry is not the account's change")
