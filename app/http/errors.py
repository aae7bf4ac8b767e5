"""Every error in one shape, and the one table from outcomes to HTTP. Callers never see what is inside."""

import logging
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

import falcon
import falcon.asgi

from app.domain.outcomes import Answer, Outcome
from app.domain.validation import Malformed
from app.services.access import Forbidden, Unauthenticated
from app.services.faults import DeadlinePassed, Interrupted, KeysAway, Overloaded, Paused, Unavailable

_log = logging.getLogger(__name__)

_CODE_OF_STATUS: Mapping[int, str] = {
    HTTPStatus.UNAUTHORIZED: "UNAUTHORIZED",
    HTTPStatus.FORBIDDEN: "FORBIDDEN",
    HTTPStatus.NOT_FOUND: "NOT_FOUND",
    HTTPStatus.METHOD_NOT_ALLOWED: "METHOD_NOT_ALLOWED",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "PAYLOAD_TOO_LARGE",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "UNSUPPORTED_MEDIA_TYPE",
    HTTPStatus.TOO_MANY_REQUESTS: "RATE_LIMITED",
    HTTPStatus.SERVICE_UNAVAILABLE: "UNAVAILABLE",
    HTTPStatus.GATEWAY_TIMEOUT: "TIMEOUT",
}
_RETRY_SOON = {"Retry-After": "1"}


class Row(NamedTuple):
    """How an outcome looks over HTTP. Without a code of its own it has the outcome's name."""

    status: HTTPStatus
    message: str
    code: str = ""


OUTCOMES: Mapping[Outcome, Row] = {
    Outcome.OK: Row(HTTPStatus.OK, ""),
    Outcome.IDEMPOTENCY_KEY_REUSED: Row(
        HTTPStatus.UNPROCESSABLE_ENTITY, "this Idempotency-Key was used for another request"
    ),
    Outcome.DEAD_LETTERED: Row(HTTPStatus.INTERNAL_SERVER_ERROR, "the command failed and waits for ops as"),
    Outcome.EXPIRED: Row(HTTPStatus.CONFLICT, "the command is too old; nothing was applied"),
    Outcome.DROPPED: Row(HTTPStatus.GATEWAY_TIMEOUT, "its time was over; nothing was applied", "TIMEOUT"),
    Outcome.RESERVATION_NOT_FOUND: Row(HTTPStatus.NOT_FOUND, "there is no such reservation"),
    Outcome.ALREADY_COMMITTED: Row(HTTPStatus.CONFLICT, "the reservation has become a buy-in"),
    Outcome.RESERVATION_NOT_HELD: Row(HTTPStatus.CONFLICT, "the reservation was released"),
    Outcome.POT_NOT_FOUND: Row(HTTPStatus.NOT_FOUND, "there is no such pot"),
    Outcome.POT_NOT_ACTIVE: Row(HTTPStatus.CONFLICT, "the pot has been settled or cancelled"),
    Outcome.ACCOUNT_FROZEN: Row(HTTPStatus.CONFLICT, "the account is frozen until ops have looked at it"),
    Outcome.RESERVATION_EXPIRED: Row(HTTPStatus.CONFLICT, "the reservation is past its time"),
    Outcome.ACCOUNT_NOT_FOUND: Row(HTTPStatus.NOT_FOUND, "there is no such account"),
    Outcome.SEAT_TAKEN: Row(HTTPStatus.CONFLICT, "another account has contributed from that seat"),
    Outcome.SETTLEMENT_MISMATCH: Row(
        HTTPStatus.CONFLICT, "the amounts are neither the pot nor the pot less rake"
    ),
    Outcome.SETTLEMENT_NOT_ELIGIBLE: Row(HTTPStatus.CONFLICT, "a seat would win what it cannot win"),
    Outcome.INVALID_AMOUNT: Row(HTTPStatus.CONFLICT, "balance or pot would pass the range of amounts"),
    Outcome.HOLD_LIMIT: Row(
        HTTPStatus.TOO_MANY_REQUESTS, "the account has too many held reservations", "RATE_LIMITED"
    ),
    Outcome.POT_LIMIT: Row(
        HTTPStatus.TOO_MANY_REQUESTS, "the pot has too many contributions", "RATE_LIMITED"
    ),
    Outcome.NOT_ON_TABLE: Row(HTTPStatus.CONFLICT, "the account has not that much on the table"),
    Outcome.INSUFFICIENT_BALANCE: Row(HTTPStatus.CONFLICT, "the available balance is below the amount"),
}


class ApiError(falcon.HTTPError):
    """An error as callers see it: `message` for people, `code` for programs (by default its status's)."""

    def __init__(
        self, status: int, message: str, code: str = "", headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(status, title=code or code_of_status(status), description=message, headers=headers)


def refused(answer: Answer) -> ApiError:
    """The error that tells this answer, which is not OK."""
    row = OUTCOMES[answer.outcome]
    return ApiError(row.status, f"{row.message} {answer.detail}".rstrip(), row.code or answer.outcome.value)


def code_of_status(status: int) -> str:
    """The machine code of an error that has nothing more to say than its status."""
    default = "INTERNAL" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "INVALID_REQUEST"
    return _CODE_OF_STATUS.get(status, default)


def error_of(error: Exception) -> ApiError | None:
    """What callers see of a foreseen error; None for a fault of ours."""
    match error:
        case Malformed():
            return ApiError(HTTPStatus.BAD_REQUEST, _in_camel_case(error), error.code)
        case Unauthenticated():
            return ApiError(HTTPStatus.UNAUTHORIZED, str(error), headers={"WWW-Authenticate": "Bearer"})
        case Forbidden():
            return ApiError(HTTPStatus.FORBIDDEN, str(error))
        case Overloaded():
            message = "too much is waiting; nothing was done"
            return ApiError(HTTPStatus.TOO_MANY_REQUESTS, message, headers=_RETRY_SOON)
        case KeysAway():
            return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, str(error), headers=_RETRY_SOON)
        case Paused():
            message = "the service is paused; nothing was done"
            return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, message, headers=_RETRY_SOON)
        case Unavailable():
            message = "the store is away; nothing was done"
            return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, message, headers=_RETRY_SOON)
        case Interrupted():
            message = "the batch may be queued in part; submit it again under its id"
            return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, message, headers=_RETRY_SOON)
        case DeadlinePassed():
            message = "no answer in time; the same Idempotency-Key gets the one outcome"
            return ApiError(HTTPStatus.GATEWAY_TIMEOUT, message)
    return None


def install(app: falcon.asgi.App[Any, Any]) -> None:
    """Make the app answer every error, Falcon's own too, in our shape."""
    app.set_error_serializer(_serialize)
    app.add_error_handler(Exception, _handle)


async def _handle(
    req: falcon.asgi.Request, _resp: falcon.asgi.Response, error: Exception, _params: dict[str, Any]
) -> None:
    foreseen = error_of(error)
    if foreseen is None:
        request_id, where = req.context.request_id, (req.method, req.uri_template)
        about = {"request_id": request_id}
        _log.error("%s %s failed, request %s", *where, request_id, exc_info=error, extra=about)
        foreseen = ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, "a fault of ours")
    raise foreseen


def _serialize(req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError) -> None:
    code = error.title if isinstance(error, ApiError) else code_of_status(error.status_code)
    message = error.description or HTTPStatus(error.status_code).phrase
    resp.media = {"error": code, "message": message, "requestId": req.context.get("request_id", "")}


def _in_camel_case(error: Malformed) -> str:
    field = re.sub(r"_(.)", lambda match: match[1].upper(), error.field)
    return field + str(error).removeprefix(error.field)
