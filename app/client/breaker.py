"""A circuit breaker: while the service is away, new calls fail at once and not each after its deadline.

Our own forty lines: circuitbreaker and purgatory let every caller through as a probe and hold no lock between
threads, pybreaker knows Tornado's coroutines but not asyncio's, aiobreaker rests since 2021.
"""

import threading
import time
from collections.abc import Callable

from .errors import CircuitOpen


class Breaker:
    """Closed, open after `failures` failed attempts in a row, half-open once `pause_seconds` have passed.

    Half-open, one call goes through as the probe, and the pause begins anew for all others: a probe that ends
    without a word (its caller was killed) costs one more pause and never blocks the way. Any answer closes.
    Only new calls are refused: one that is under way goes on trying until its own deadline.
    """

    def __init__(
        self, failures: int, pause_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._threshold = failures
        self._pause_seconds = pause_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._probe_at = 0.0

    def admit(self, method: str) -> None:
        """Let a new call pass; raises CircuitOpen while the service is taken to be away."""
        with self._lock:
            if self._failures < self._threshold:
                return
            wait = self._probe_at - self._clock()
            if wait > 0:
                raise CircuitOpen(method, wait)
            self._pause()

    def answered(self) -> None:
        """The service spoke, whatever it said."""
        with self._lock:
            self._failures = 0

    def failed(self) -> None:
        """An attempt found the service away, or waited in vain."""
        with self._lock:
            self._failures += 1
            self._pause()

    def _pause(self) -> None:
        self._probe_at = self._clock() + self._pause_seconds
