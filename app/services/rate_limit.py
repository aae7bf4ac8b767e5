"""How often one caller may call: a bucket for each token subject, refilled as time passes."""

import time
from collections import OrderedDict
from collections.abc import Callable

from app.config import Settings
from app.services.access import SERVICE_SCOPE, Principal

MOST_SUBJECTS = 65_536
_SECOND_NS = 1_000_000_000


class RateLimiter:
    """Lets `burst` calls of a subject through at once, and `per_second` on average.

    A bucket is one number: the time at which it will be full again. One that is full is like none, so the
    subjects heard of least recently are forgotten beyond MOST_SUBJECTS.
    """

    def __init__(self, per_second: int, burst: int, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._refill_ns = _SECOND_NS // per_second
        self._room_ns = (burst - 1) * self._refill_ns
        self._now_ns = now_ns
        self._full_at: OrderedDict[str, int] = OrderedDict()

    def wait_ns(self, subject: str) -> int:
        """0 for a call that may go on, which counts; else how long the subject has to wait."""
        now = self._now_ns()
        full_at = max(now, self._full_at.get(subject, now))
        wait = max(0, full_at - now - self._room_ns)
        self._full_at[subject] = full_at if wait else full_at + self._refill_ns
        self._full_at.move_to_end(subject)  # also when refused: who never stops is not forgotten
        if len(self._full_at) > MOST_SUBJECTS:
            self._full_at.popitem(last=False)
        return wait


class RateLimits:
    """The limits of the settings, for this process: one for services, one for everybody else."""

    def __init__(self, settings: Settings, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        of_all, of_services = settings.rate_limit_per_second, settings.service_rate_limit_per_second
        burst = settings.rate_limit_burst or 2 * of_all
        self._of_all = RateLimiter(of_all, burst, now_ns) if of_all else None
        self._of_services = RateLimiter(of_services, 2 * of_services, now_ns) if of_services else None

    def wait_seconds(self, principal: Principal) -> int:
        """0 for a call that may go on, which counts; else the whole seconds after which it may."""
        limiter = self._of_services if SERVICE_SCOPE in principal.scopes else self._of_all
        wait_ns = limiter.wait_ns(principal.subject) if limiter else 0
        return -(-wait_ns // _SECOND_NS)
