"""What wraps every request: its id, its path, who makes it and if they may, and the key to repeat it by."""

from typing import Any

from falcon import HTTP_METHODS
from falcon.asgi import Request, Response

from app.domain.identifiers import MAX_KEY_LENGTH, is_key
from app.domain.validation import Malformed, check_account_id, check_any_account_id
from app.http.callers import Callers
from app.http.life import FrontEndLife
from app.http.operations import Operation, Resource
from app.services.access import HOUSE_ACTIONS, Action, Forbidden, may
from app.services.request_ids import REQUEST_ID, fit_request_id, new_request_id


class RequestIds:
    """Takes or makes the id of a request, and gives it back in the answer."""

    async def process_request(self, req: Request, resp: Response) -> None:
        request_id = fit_request_id(req.get_header("X-Request-Id")) or new_request_id()
        req.context.request_id = request_id
        REQUEST_ID.set(request_id)
        resp.set_header("X-Request-Id", request_id)


class Watching:
    """Shows each request to whoever watches; by its route, for paths have ids in them."""

    def __init__(self, life: FrontEndLife) -> None:
        self._life = life

    async def process_request(self, req: Request, _resp: Response) -> None:
        watch = self._life.watch
        traceparent = (req.get_header("traceparent") or "") if watch.wants_trace else ""
        req.context.begun = watch.begin("http", traceparent)

    async def process_response(
        self, req: Request, resp: Response, _resource: Resource | None, _succeeded: bool
    ) -> None:
        method = req.method if req.method in HTTP_METHODS else "other"  # callers can make up any word
        req.context.begun.end(f"{method} {req.uri_template or 'unknown'}", str(resp.status_code))


class EncodedSlashes:
    """Leaves a path with an encoded slash as it came: the slash is part of an id, which is then invalid."""

    async def process_request(self, req: Request, _resp: Response) -> None:
        raw_path: bytes = req.scope.get("raw_path") or b""
        if b"%2f" in raw_path.lower():
            req.path = raw_path.decode("latin-1")


class Identification:
    """Finds out who calls, where that matters; whether they may is decided later."""

    def __init__(self, callers: Callers) -> None:
        self._callers = callers

    async def process_resource(
        self, req: Request, _resp: Response, resource: Resource, _params: dict[str, Any]
    ) -> None:
        operation = operation_of(req, resource)
        if operation is not None and operation.access is not None:
            req.context.principal = await self._callers.identify(req.get_header("Authorization"))


class Authorization:
    """Lets a request through to a resource when its caller may do what the operation lets one do."""

    def __init__(self, *, player_deposits: bool) -> None:
        self._player_deposits = player_deposits

    async def process_resource(
        self, req: Request, _resp: Response, resource: Resource, params: dict[str, Any]
    ) -> None:
        operation = operation_of(req, resource)
        if operation is None or operation.access is None:
            return
        account_id = params.get("account_id", "")
        if "account_id" in params:
            _check_account_id(operation.access, account_id)
        principal = req.context.principal
        if not may(principal, operation.access, account_id, player_deposits=self._player_deposits):
            raise Forbidden("the token does not allow this")


class IdempotencyKeys:
    """Takes the key of an operation that needs one; the same key gets the one outcome."""

    async def process_resource(
        self, req: Request, _resp: Response, resource: Resource, _params: dict[str, Any]
    ) -> None:
        operation = operation_of(req, resource)
        if operation is not None and operation.keyed:
            req.context.idempotency_key = _key_in(req.scope["headers"])


def operation_of(req: Request, resource: Resource) -> Operation | None:
    """The operation that is called; None where Falcon answers 405 or OPTIONS by itself.

    A method without a row in `operations` is a fault, never open.
    """
    return resource.operations[req.method] if hasattr(resource, f"on_{req.method.lower()}") else None


def _check_account_id(action: Action, account_id: str) -> None:
    if action in HOUSE_ACTIONS:
        check_any_account_id("account_id", account_id)
    else:
        check_account_id("account_id", account_id)


def _key_in(headers: list[tuple[bytes, bytes]]) -> str:
    """The key, which stands there exactly once; in UTF-8, so that it is the same one as over gRPC."""
    given = [value for name, value in headers if name == b"idempotency-key"]
    if not given:
        raise Malformed("Idempotency-Key", "is missing", "MISSING_IDEMPOTENCY_KEY")
    if len(given) > 1:
        raise Malformed("Idempotency-Key", "is there more than once")
    try:
        key = given[0].decode()
    except UnicodeDecodeError:
        key = ""
    if not is_key(key):
        raise Malformed("Idempotency-Key", f"must be 1 to {MAX_KEY_LENGTH} printable characters")
    return key
