"""Rate limits: how many calls a subject may make, on a clock of the test's own."""

from collections import Counter

import pytest

from app.config import Settings
from app.services import rate_limit
from app.services.access import Principal
from app.services.rate_limit import RateLimiter, RateLimits

SECOND_NS = 1_000_000_000


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.ns = 7 * SECOND_NS

    def __call__(self) -> int:
        return self.ns

    def pass_ms(self, milliseconds: int) -> None:
        self.ns += milliseconds * 1_000_000


@pytest.fixture
def clock() -> Clock:
    return Clock()


def let_through(limiter: RateLimiter, calls: int, subject: str = "alice") -> int:
    """How many of so many calls at this very moment go on."""
    return sum(limiter.wait_ns(subject) == 0 for _ in range(calls))


def test_a_quiet_subject_may_call_in_a_burst_and_then_at_the_rate(clock: Clock) -> None:
    """What is refused does not count: who tries again at once has to wait no longer for it."""
    limiter = RateLimiter(10, 20, clock)
    assert let_through(limiter, 100) == 20
    for _ in range(50):
        clock.pass_ms(99)
        assert let_through(limiter, 5) == 0
        clock.pass_ms(1)
        assert let_through(limiter, 5) == 1
    clock.pass_ms(60_000)
    assert let_through(limiter, 100) == 20


def test_the_wait_that_is_told_is_exact(clock: Clock) -> None:
    """A call after that time goes on; one a moment earlier does not."""
    limiter = RateLimiter(4, 1, clock)
    assert limiter.wait_ns("alice") == 0
    clock.pass_ms(100)
    wait_ns = limiter.wait_ns("alice")
    assert wait_ns == 150_000_000
    clock.ns += wait_ns - 1
    assert limiter.wait_ns("alice") == 1
    clock.ns += 1
    assert limiter.wait_ns("alice") == 0


def test_subjects_do_not_share(clock: Clock) -> None:
    """One who calls without end takes nothing from another."""
    limiter = RateLimiter(1, 3, clock)
    assert let_through(limiter, 50, "greedy") == let_through(limiter, 50, "modest") == 3


def test_memory_is_bounded(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The subjects heard of least recently are forgotten first; who calls on and on is not."""
    monkeypatch.setattr(rate_limit, "MOST_SUBJECTS", 100)
    limiter = RateLimiter(1, 1000, clock)
    went_on = Counter[str]()
    for number in range(5000):
        for subject in ("greedy", f"subject-{number}"):
            went_on[subject] += limiter.wait_ns(subject) == 0
    assert len(limiter._full_at) == 100
    assert went_on["greedy"] == 1000


PLAYER = Principal("alice")
OPS = Principal("olga", frozenset({"balance:ops"}))
SERVICE = Principal("poker", frozenset({"balance:service"}))


@pytest.mark.parametrize(
    ("settings", "principal", "calls"),
    [
        (Settings(), PLAYER, 1000),
        (Settings(rate_limit_per_second=5), PLAYER, 10),
        (Settings(rate_limit_per_second=5, rate_limit_burst=7), PLAYER, 7),
        (Settings(rate_limit_per_second=5), OPS, 10),
        (Settings(rate_limit_per_second=5), SERVICE, 1000),
        (Settings(rate_limit_per_second=5, service_rate_limit_per_second=50), SERVICE, 100),
        (Settings(service_rate_limit_per_second=50), PLAYER, 1000),
    ],
)
def test_each_kind_of_caller_has_its_own_limit(
    clock: Clock, settings: Settings, principal: Principal, calls: int
) -> None:
    """Services their own, or none; and nobody any unless it is set."""
    limits = RateLimits(settings, clock)
    assert sum(limits.wait_seconds(principal) == 0 for _ in range(1000)) == calls


def test_a_wait_is_told_in_whole_seconds(clock: Clock) -> None:
    """Never 0, which would mean that the call may go on."""
    limits = RateLimits(Settings(rate_limit_per_second=1, rate_limit_burst=2), clock)
    assert [limits.wait_seconds(PLAYER) for _ in range(3)] == [0, 0, 1]
    clock.pass_ms(999)
    assert limits.wait_seconds(PLAYER) == 1
    clock.pass_ms(1)
    assert limits.wait_seconds(PLAYER) == 0
