"""What a call can end with instead of an answer: one type for each thing that a caller does about it."""

from collections.abc import Mapping
from typing import Any

from grpc import StatusCode

RETRIED = frozenset(
    {
        StatusCode.UNAVAILABLE,
        StatusCode.RESOURCE_EXHAUSTED,
        StatusCode.CANCELLED,
        StatusCode.DEADLINE_EXCEEDED,
    }
)
"""Away, overloaded or slow: sent again, always under the same key, since each of them may pass.

CANCELLED is how gRPC itself sheds calls that come faster than the service can look at them.
"""

_TOO_LARGE = "message larger than max"
"""gRPC's own words, under the status of an overload, for a message that will never get through."""

_REFUSALS_BY_STATUS = frozenset({"HOLD_LIMIT", "POT_LIMIT", "SEAT_TAKEN"})
_DEAD_LETTERED = "DEAD_LETTERED"


class BalanceError(Exception):
    """The common base. `method` is the call's name in the contract."""

    def __init__(self, method: str, *more: object) -> None:
        super().__init__(method, *more)  # all arguments, so that it can be pickled
        self.method = method


class Refused(BalanceError):
    """The service said no, and nothing changed. The same key is refused again: a new try takes a new one.

    `code` is the contract's, such as INSUFFICIENT_BALANCE; `answer` has the other fields of the answer.
    """

    def __init__(self, method: str, code: str, answer: Mapping[str, Any] | None = None) -> None:
        super().__init__(method, code, answer)
        self.code = code
        self.answer = answer or {}

    def __str__(self) -> str:
        return f"{self.method} refused: {self.code}"


class Unanswered(BalanceError):
    """No answer within the deadline, after all attempts. The command may have been applied, or may be yet.

    Make the same call again, with `idempotency_key` ("" where the call has none, and needs none): it is
    applied once, and this time you may learn how it ended.
    """

    def __init__(self, method: str, status: StatusCode, details: str, idempotency_key: str) -> None:
        super().__init__(method, status, details, idempotency_key)
        self.status = status
        self.details = details
        self.idempotency_key = idempotency_key

    def __str__(self) -> str:
        return f"{self.method} has no answer: {self.status.name}, {self.details}"


class CircuitOpen(BalanceError):
    """The service has been away for several attempts, so this call was not sent. Nothing was done."""

    def __init__(self, method: str, retry_after_seconds: float) -> None:
        super().__init__(method, retry_after_seconds)
        self.retry_after_seconds = retry_after_seconds

    def __str__(self) -> str:
        return (
            f"{self.method} was not sent: the service is away; try again in {self.retry_after_seconds:.1f} s"
        )


class DeadLettered(BalanceError):
    """The command failed by a fault of the service and waits for its operators under `dead_letter_id`."""

    def __init__(self, method: str, dead_letter_id: str) -> None:
        super().__init__(method, dead_letter_id)
        self.dead_letter_id = dead_letter_id

    def __str__(self) -> str:
        return f"{self.method} failed and waits for operators as dead letter {self.dead_letter_id}"


class CallFailed(BalanceError):
    """Any other status: a malformed request, a missing token, a fault of the service. Needs a programmer."""

    def __init__(self, method: str, status: StatusCode, details: str) -> None:
        super().__init__(method, status, details)
        self.status = status
        self.details = details

    def __str__(self) -> str:
        return f"{self.method} failed: {self.status.name}, {self.details}"


def may_pass(status: StatusCode, details: str) -> bool:
    """Whether the same call, sent again, may get another answer."""
    return status in RETRIED and _TOO_LARGE not in details


def error_of(method: str, status: StatusCode, details: str, idempotency_key: str) -> BalanceError:
    """What a call that ended with this status raises. A few refusals are told by a status (CONTRACT 3)."""
    word, _, rest = details.partition(" ")
    if status is StatusCode.FAILED_PRECONDITION or word in _REFUSALS_BY_STATUS:
        return Refused(method, word)
    if status is StatusCode.INTERNAL and word == _DEAD_LETTERED:
        return DeadLettered(method, rest)
    if may_pass(status, details):
        return Unanswered(method, status, details, idempotency_key)
    return CallFailed(method, status, details)
