"""What judges the answers to one key finds what it is there for: one that never fails proves nothing."""

import pytest
from msgspec.structs import replace

from app.domain.outcomes import Answer, Outcome
from tests.support.proof import unlike_answers

PAID = Answer(transaction_id="t", balance=5)
PAID_AGAIN = replace(PAID, replayed=True)
PAID_OTHERWISE = replace(PAID, balance=10)
REUSED = Answer(outcome=Outcome.IDEMPOTENCY_KEY_REUSED)

Told = list[tuple[str, Answer]]


@pytest.mark.parametrize(
    ("told", "first_may_lack"),
    [
        pytest.param([("one", PAID), ("one", PAID_AGAIN), ("two", PAID_AGAIN)], False, id="replays"),
        pytest.param([("two", PAID_AGAIN), ("one", PAID)], False, id="the first came last"),
        pytest.param([("one", PAID), ("one", PAID)], False, id="one commit, sent twice"),
        pytest.param([("one", PAID_AGAIN), ("two", PAID_AGAIN)], True, id="the first was never told"),
        pytest.param([("one", REUSED), ("two", REUSED)], False, id="the key of another command"),
    ],
)
def test_answers_that_agree_are_no_problem(told: Told, *, first_may_lack: bool) -> None:
    """However often they come, and to whichever of the commands."""
    assert not list(unlike_answers(told, first_may_lack=first_may_lack))


@pytest.mark.parametrize(
    ("told", "first_may_lack"),
    [
        pytest.param([("one", PAID), ("one", PAID_OTHERWISE)], False, id="one command, two answers"),
        pytest.param([("one", PAID), ("one", replace(PAID_OTHERWISE, replayed=True))], False, id="unlike"),
        pytest.param([("one", PAID_OTHERWISE), ("one", PAID), ("one", PAID)], False, id="the first differs"),
        pytest.param([("one", PAID), ("two", PAID)], False, id="decided for two commands"),
        pytest.param([("one", PAID), ("two", PAID)], True, id="for two, though alone"),
        pytest.param([("one", PAID_AGAIN)], False, id="replayed, and never decided"),
    ],
)
def test_answers_that_contradict_are_found(told: Told, *, first_may_lack: bool) -> None:
    """Also where the last answer to each command looks right: all of them count."""
    assert list(unlike_answers(told, first_may_lack=first_may_lack))
