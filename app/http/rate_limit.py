"""Tells callers who call too often to come back later: 429 RATE_LIMITED, per token subject."""

from http import HTTPStatus
from typing import Any

from falcon.asgi import Request, Response

from app.http.errors import ApiError
from app.services.rate_limit import RateLimits


class RateLimit:
    """Stands behind the identification, before the authorization: also calls that are not allowed count."""

    def __init__(self, limits: RateLimits) -> None:
        self._limits = limits

    async def process_resource(
        self, req: Request, _resp: Response, _resource: object, _params: dict[str, Any]
    ) -> None:
        principal = req.context.get("principal")
        if principal is not None and (seconds := self._limits.wait_seconds(principal)):
            message = "too many requests; nothing was done"
            raise ApiError(HTTPStatus.TOO_MANY_REQUESTS, message, headers={"Retry-After": str(seconds)})
