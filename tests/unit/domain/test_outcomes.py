"""The outcomes: their order is their precedence, and for each it is written down whether it sticks."""

import pytest

from app.domain.outcomes import Answer, Outcome

# In order of precedence. Whoever adds an outcome says here where it stands, and whether it sticks.
STICKS = {
    Outcome.IDEMPOTENCY_KEY_REUSED: False,
    Outcome.DEAD_LETTERED: False,
    Outcome.EXPIRED: False,
    Outcome.DROPPED: False,
    Outcome.RESERVATION_NOT_FOUND: True,
    Outcome.ALREADY_COMMITTED: True,
    Outcome.RESERVATION_NOT_HELD: True,
    Outcome.POT_NOT_FOUND: False,
    Outcome.POT_NOT_ACTIVE: True,
    Outcome.ACCOUNT_FROZEN: False,
    Outcome.RESERVATION_EXPIRED: True,
    Outcome.ACCOUNT_NOT_FOUND: True,
    Outcome.SEAT_TAKEN: True,
    Outcome.SETTLEMENT_MISMATCH: False,
    Outcome.SETTLEMENT_NOT_ELIGIBLE: True,
    Outcome.INVALID_AMOUNT: True,
    Outcome.HOLD_LIMIT: False,
    Outcome.POT_LIMIT: False,
    Outcome.NOT_ON_TABLE: True,
    Outcome.INSUFFICIENT_BALANCE: True,
    Outcome.OK: False,
}


def test_the_order_of_the_outcomes_is_their_precedence() -> None:
    """Callers rely on it: the first reason that holds is the one they are told."""
    assert list(Outcome) == list(STICKS)


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_has_a_rule_for_sticking(outcome: Outcome) -> None:
    """A refusal of the caller's own making sticks to its key; one of ours does not."""
    assert outcome.sticks is STICKS[outcome]


@pytest.mark.parametrize("outcome", Outcome)
def test_an_outcome_travels_under_its_name(outcome: Outcome) -> None:
    """It is what callers are shown, and what records keep."""
    assert outcome.value == outcome.name == str(outcome)
    assert Answer(outcome=outcome).ok is (outcome is Outcome.OK)
