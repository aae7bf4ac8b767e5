"""The circuit breaker: a table of what happens, when, and whether a new call gets through."""

from collections.abc import Sequence

import pytest

from app.client.breaker import Breaker
from app.client.errors import CircuitOpen

FAILURES = 3
PAUSE_SECONDS = 2.0

CLOSED, PROBE, OPEN = "lets calls through", "lets one call through", "refuses"

# What happens, the seconds that pass after it, and how the breaker meets new calls then.
TABLE: list[tuple[str, Sequence[tuple[str, float]], str]] = [
    ("nothing yet", [], CLOSED),
    ("a failure short of the limit", [("failed", 0)] * 2, CLOSED),
    ("the limit", [("failed", 0)] * 3, OPEN),
    (
        "an answer in between",
        [("failed", 0), ("failed", 0), ("answered", 0), ("failed", 0), ("failed", 0)],
        CLOSED,
    ),
    ("a pause not quite over", [("failed", 0), ("failed", 0), ("failed", 1.99)], OPEN),
    ("the pause over", [("failed", 0), ("failed", 0), ("failed", 2)], PROBE),
    ("a probe under way", [("failed", 0), ("failed", 0), ("failed", 2), ("admit", 1.99)], OPEN),
    ("a probe that ended without a word", [("failed", 0), ("failed", 0), ("failed", 2), ("admit", 2)], PROBE),
    (
        "a probe that failed",
        [("failed", 0), ("failed", 0), ("failed", 2), ("admit", 1), ("failed", 1.99)],
        OPEN,
    ),
    (
        "a probe answered",
        [("failed", 0), ("failed", 0), ("failed", 2), ("admit", 0), ("answered", 0)],
        CLOSED,
    ),
    ("a late failure lengthens the pause", [("failed", 0)] * 3 + [("failed", 1), ("failed", 1.5)], OPEN),
    ("an answer to a call under way", [("failed", 0)] * 3 + [("answered", 0)], CLOSED),
]


class Clock:
    """Time that a test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def admits(breaker: Breaker) -> bool:
    try:
        breaker.admit("Deposit")
    except CircuitOpen:
        return False
    return True


@pytest.mark.parametrize(("happened", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_what_happened_decides_who_gets_through(happened: Sequence[tuple[str, float]], expected: str) -> None:
    """Closed lets all through, open none, and half-open one while the others wait for what it finds."""
    clock = Clock()
    breaker = Breaker(FAILURES, PAUSE_SECONDS, clock)
    for event, seconds in happened:
        if event == "admit":
            breaker.admit("Deposit")
        else:
            getattr(breaker, event)()
        clock.now += seconds
    met = admits(breaker), admits(breaker)
    assert met == {CLOSED: (True, True), PROBE: (True, False), OPEN: (False, False)}[expected]


def test_a_refused_call_learns_when_to_come_back() -> None:
    """In seconds, as a Retry-After would say it."""
    clock = Clock()
    breaker = Breaker(1, PAUSE_SECONDS, clock)
    breaker.failed()
    clock.now += 0.5
    with pytest.raises(CircuitOpen) as refused:
        breaker.admit("Deposit")
    assert refused.value.retry_after_seconds == 1.5
