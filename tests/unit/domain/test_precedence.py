"""Where several reasons hold at once: stored outcome, age, deadline, frozen account, rules; in that order."""

from itertools import product

import pytest

from app.domain.accounts import ACTIVE, FROZEN
from app.domain.amounts import MAX_CHIPS
from app.domain.commands import (
    Adjust,
    CashOut,
    Command,
    Commit,
    Deposit,
    EnsureAccount,
    ExpireReservation,
    LeaveTable,
    Payout,
    Release,
    Reserve,
    Withdraw,
)
from app.domain.decide import decide
from app.domain.outcomes import Answer, Outcome
from app.domain.policy import Policy
from app.domain.records import RefusalRecord
from app.domain.state import Decision
from tests.support.domain import NOW, POLICY, account, request_of, reservation, state_of
from tests.support.pots import contribute, pot, settle

TTL = POLICY.refusal_ttl_ms
STORED = Answer(outcome=Outcome.NOT_ON_TABLE)

# Each command with what its own rules say to an account that holds all there can be, and nothing else.
RULES: list[tuple[Command, Outcome]] = [
    (Deposit(account_id="alice", amount=1), Outcome.INVALID_AMOUNT),
    (Payout(account_id="alice", amount=1), Outcome.INVALID_AMOUNT),
    (CashOut(account_id="alice", table_id="t1", amount=1), Outcome.INVALID_AMOUNT),
    (Adjust(account_id="alice", change=1, corrects="t"), Outcome.INVALID_AMOUNT),
    (Adjust(account_id="alice", change=-MAX_CHIPS, corrects="t"), Outcome.INSUFFICIENT_BALANCE),
    (LeaveTable(account_id="alice", table_id="t1"), Outcome.INVALID_AMOUNT),
    (Withdraw(account_id="alice", amount=MAX_CHIPS), Outcome.INSUFFICIENT_BALANCE),
    (Reserve(account_id="alice", table_id="t1", amount=MAX_CHIPS), Outcome.INSUFFICIENT_BALANCE),
    (EnsureAccount(account_id="alice"), Outcome.OK),
    (Commit(reservation_id="r1"), Outcome.RESERVATION_EXPIRED),
    (Release(reservation_id="r1"), Outcome.OK),
    (ExpireReservation(reservation_id="r1"), Outcome.OK),
    (contribute(1), Outcome.OK),
    (settle((1, "alice", 20)), Outcome.INVALID_AMOUNT),
]
KINDS = [command.kind for command, _ in RULES]


@pytest.mark.parametrize(("command", "by_the_rules"), RULES, ids=KINDS)
@pytest.mark.parametrize(("stored", "old", "late", "frozen"), list(product([True, False], repeat=4)))
def test_the_first_reason_is_the_answer(
    command: Command, by_the_rules: Outcome, *, stored: bool, old: bool, late: bool, frozen: bool
) -> None:
    """Every combination of the five, for every command."""
    # Given
    alice = account(balance=MAX_CHIPS, status=FROZEN if frozen else ACTIVE)
    state = state_of(
        [alice, reservation(left_ms=-1), reservation("r2"), pot((1, "alice", 20))], {("t1", "alice"): 1}
    )
    request = request_of(
        command, arrived_at=NOW - TTL - 1 if old else NOW, deadline_at=NOW - 1 if late else 0
    )
    if stored:
        record = RefusalRecord(fingerprint=request.fingerprint, answer=STORED)
        state.refusals[request.refusal_key] = record
    # If
    decision = decide(state, request, NOW, POLICY)
    # Expect
    reasons = [
        (stored and command.keyed, STORED.outcome),
        (old, Outcome.EXPIRED),
        (late, Outcome.DROPPED),
        (frozen, Outcome.ACCOUNT_FROZEN),
    ]
    first = next((outcome for holds, outcome in reasons if holds), None)
    assert decision.answer.outcome is (first or by_the_rules)
    if first:
        assert decision == Decision(decision.answer), "nothing is changed, and nothing kept"


@pytest.mark.parametrize(("age_ms", "outcome"), [(TTL, Outcome.OK), (TTL + 1, Outcome.EXPIRED)])
def test_a_command_is_too_old_once_its_refusal_would_be_forgotten(age_ms: int, outcome: Outcome) -> None:
    """Younger, a refusal of its key would still be found; older, nobody can know whether there was one."""
    request = request_of(Deposit(account_id="alice", amount=1), arrived_at=NOW - age_ms)
    assert decide(state_of([]), request, NOW, POLICY).answer.outcome is outcome


def test_the_age_follows_the_setting() -> None:
    """IDEMPOTENCY_TTL_MS sets both: how long refusals are kept, and how old a command may be."""
    request = request_of(Deposit(account_id="alice", amount=1), arrived_at=NOW - 51)
    assert decide(state_of([]), request, NOW, Policy(refusal_ttl_ms=50)).answer.outcome is Outcome.EXPIRED
    assert decide(state_of([]), request, NOW, Policy(refusal_ttl_ms=51)).answer.ok


@pytest.mark.parametrize(
    ("deadline_at", "outcome"),
    [(0, Outcome.OK), (NOW + 1, Outcome.OK), (NOW, Outcome.OK), (NOW - 1, Outcome.DROPPED)],
)
def test_a_command_is_dropped_after_its_deadline_not_at_it(deadline_at: int, outcome: Outcome) -> None:
    """0 is no deadline."""
    request = request_of(Deposit(account_id="alice", amount=1), arrived_at=NOW - 99, deadline_at=deadline_at)
    assert decide(state_of([]), request, NOW, POLICY).answer.outcome is outcome
