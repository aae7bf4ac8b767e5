"""How calls are made: deadlines, what is sent again and when, and what the channel itself may do.

Retries are tenacity's: alive, typed, without dependencies, one policy for threads and asyncio, full jitter.
gRPC's own are off: they know neither the breaker nor the caller's deadline for the whole call.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from google.protobuf.message import Message
from grpc import StatusCode
from tenacity import retry_if_exception_type, stop_before_delay, wait_random_exponential

from .breaker import Breaker
from .calls import Call
from .errors import BalanceError, Unanswered, error_of
from .tracing import headers

Answer = TypeVar("Answer")
Token = str | Callable[[], str] | None
"""A bearer token, or what returns the current one; it is asked at each attempt and must not block."""

CHANNEL_OPTIONS: Mapping[str, int | str] = {
    "grpc.enable_retries": 0,
    # A dead connection is noticed; the service allows a ping every 10 s.
    "grpc.keepalive_time_ms": 20_000,
    "grpc.keepalive_timeout_ms": 5_000,
    "grpc.keepalive_permit_without_calls": 1,
    "grpc.http2.max_pings_without_data": 0,
    # A service that was started again is found within a call's deadline: gRPC's own pause grows to minutes.
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.min_reconnect_backoff_ms": 2_000,
    "grpc.max_reconnect_backoff_ms": 1_000,
    # The service takes no larger request; its largest answer is a page of 500 lines of a batch.
    "grpc.max_send_message_length": 64 * 1024,
    "grpc.max_receive_message_length": 4 * 1024 * 1024,  # a page of batch lines with the longest texts
}


@dataclass(frozen=True, slots=True)
class Policy:
    """The limits of one client.

    An attempt is given up after `attempt_seconds` (one to send a batch is not), a call after `total_seconds`.
    The pause before the n-th retry is random, up to `first_pause_seconds` x 2^(n-1) and at most
    `longest_pause_seconds`. After `breaker_failures` failed attempts in a row new calls fail at once, but for
    one probe each `breaker_pause_seconds`.
    """

    attempt_seconds: float = 2.0
    total_seconds: float = 10.0
    first_pause_seconds: float = 0.05
    longest_pause_seconds: float = 1.0
    breaker_failures: int = 5
    breaker_pause_seconds: float = 2.0

    def breaker(self) -> Breaker:
        """A breaker with these limits."""
        return Breaker(self.breaker_failures, self.breaker_pause_seconds)

    def retrying(self) -> dict[str, Any]:
        """What tenacity is told. It raises the last attempt's error when it stops."""
        return {
            "retry": retry_if_exception_type(Unanswered),
            "wait": wait_random_exponential(self.first_pause_seconds, self.longest_pause_seconds),
            "stop": stop_before_delay(self.total_seconds),
            "reraise": True,
        }


@dataclass(frozen=True, slots=True)
class Desk:
    """What both clients do around an attempt, without a word of I/O."""

    policy: Policy
    breaker: Breaker
    token: Token = field(repr=False)

    def within(self, seconds: float) -> "Desk":
        """The same desk with another deadline for whole calls."""
        return replace(self, policy=replace(self.policy, total_seconds=seconds))

    def open(self, call: Call[Any]) -> float:
        """Admit a new call; the moment at which it must be over."""
        self.breaker.admit(call.method)
        return time.monotonic() + self.policy.total_seconds

    def attempt(self, call: Call[Any], deadline: float) -> dict[str, Any]:
        """How the next attempt is sent: for how long, and in whose name."""
        token = self.token() if callable(self.token) else self.token
        authorization = (("authorization", f"Bearer {token}"),) if token else ()
        return {
            "timeout": max(0.0, min(self._patience(call), deadline - time.monotonic())),
            "metadata": (*authorization, *headers()),
        }

    def _patience(self, call: Call[Any]) -> float:
        """How many seconds an attempt may take by itself: thousands of lines take as long as they take."""
        return self.policy.attempt_seconds if call.more is None else math.inf

    def failed(
        self, call: Call[Any], sent: Mapping[str, Any], status: StatusCode, details: str
    ) -> BalanceError:
        """What this attempt raises; the breaker is told what it says about the service."""
        error = error_of(call.method, status, details, call.idempotency_key)
        if status is StatusCode.UNAVAILABLE:
            self.breaker.failed()
        elif status is not StatusCode.DEADLINE_EXCEEDED:
            self.breaker.answered()
        elif sent["timeout"] >= self._patience(call):
            self.breaker.failed()  # one cut short by the caller's own deadline says nothing about the service
        return error

    def answered(self, call: Call[Answer], message: Message) -> Answer:
        """The answer; raises Refused."""
        self.breaker.answered()
        return call.answer(message)
