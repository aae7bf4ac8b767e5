"""The one table from outcomes and errors to gRPC statuses. What is not listed is a fault of ours."""

from collections.abc import Mapping

from google.protobuf.message import DecodeError
from grpc import StatusCode

from app.domain.outcomes import Answer, Outcome
from app.domain.validation import Malformed, TooMany
from app.services.access import Forbidden, Unauthenticated
from app.services.faults import DeadlinePassed, Interrupted, KeysAway, Overloaded, Paused, Unavailable

# OK: the outcome is an answer, told in the message's own fields.
STATUS_OF_OUTCOME: Mapping[Outcome, StatusCode] = {
    Outcome.OK: StatusCode.OK,
    Outcome.IDEMPOTENCY_KEY_REUSED: StatusCode.OK,
    Outcome.DEAD_LETTERED: StatusCode.INTERNAL,
    Outcome.EXPIRED: StatusCode.OK,
    Outcome.DROPPED: StatusCode.DEADLINE_EXCEEDED,
    Outcome.RESERVATION_NOT_FOUND: StatusCode.OK,
    Outcome.ALREADY_COMMITTED: StatusCode.OK,
    Outcome.RESERVATION_NOT_HELD: StatusCode.OK,
    Outcome.POT_NOT_FOUND: StatusCode.OK,
    Outcome.POT_NOT_ACTIVE: StatusCode.OK,
    Outcome.ACCOUNT_FROZEN: StatusCode.OK,
    Outcome.RESERVATION_EXPIRED: StatusCode.OK,
    Outcome.ACCOUNT_NOT_FOUND: StatusCode.OK,
    Outcome.SEAT_TAKEN: StatusCode.INVALID_ARGUMENT,
    Outcome.SETTLEMENT_MISMATCH: StatusCode.OK,
    Outcome.SETTLEMENT_NOT_ELIGIBLE: StatusCode.OK,
    Outcome.INVALID_AMOUNT: StatusCode.OK,
    Outcome.HOLD_LIMIT: StatusCode.RESOURCE_EXHAUSTED,
    Outcome.POT_LIMIT: StatusCode.RESOURCE_EXHAUSTED,
    Outcome.NOT_ON_TABLE: StatusCode.OK,
    Outcome.INSUFFICIENT_BALANCE: StatusCode.OK,
}

# The text that callers see. Only errors made of nothing but the request may speak for themselves ("").
_STATUS_OF_ERROR: Mapping[type[Exception], tuple[StatusCode, str]] = {
    Malformed: (StatusCode.INVALID_ARGUMENT, ""),
    TooMany: (StatusCode.RESOURCE_EXHAUSTED, ""),
    DecodeError: (StatusCode.INVALID_ARGUMENT, "the request is not a message of this method"),
    Unauthenticated: (StatusCode.UNAUTHENTICATED, ""),
    Forbidden: (StatusCode.PERMISSION_DENIED, ""),
    Overloaded: (StatusCode.RESOURCE_EXHAUSTED, "too much is waiting; nothing was done"),
    Paused: (StatusCode.UNAVAILABLE, "the service is paused; nothing was done"),
    KeysAway: (StatusCode.UNAVAILABLE, ""),
    Unavailable: (StatusCode.UNAVAILABLE, "the store is away; nothing was done"),
    Interrupted: (StatusCode.UNAVAILABLE, "the batch may be queued in part; submit it again under its id"),
    DeadlinePassed: (StatusCode.DEADLINE_EXCEEDED, "no answer in time; the same key gets the one outcome"),
}


class CallFailed(Exception):
    """Ends a call with another status than OK, on purpose."""

    def __init__(self, status: StatusCode, details: str) -> None:
        super().__init__(details)
        self.status = status
        self.details = details


def error_code(answer: Answer) -> str:
    """The answer's `error` field: "" or the refusal's code. Raises CallFailed where a status tells it."""
    if answer.ok:
        return ""
    status = STATUS_OF_OUTCOME[answer.outcome]
    if status is not StatusCode.OK:
        raise CallFailed(status, f"{answer.outcome} {answer.detail}".rstrip())
    return answer.outcome.value


def status_of(error: Exception) -> tuple[StatusCode, str] | None:
    """Status and details of a foreseen error; None for a fault of ours, whose text is not for callers."""
    if isinstance(error, CallFailed):
        return error.status, error.details
    row = _STATUS_OF_ERROR.get(type(error))
    return (row[0], row[1] or str(error)) if row else None
