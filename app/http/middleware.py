"""What wraps every request: its id, its path, who may make it. And the life of the process's front end."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, Protocol

from falcon.asgi import Request, Response

from app.domain.validation import check_account_id
from app.services.access import Action, Forbidden, may
from app.services.queries import Queries
from app.services.request_ids import fit_request_id, new_request_id
from app.services.submission import FrontEnd
from app.services.tokens import TokenVerifier

Access = Mapping[str, Action | None]  # None: anyone may
OpenFrontEnd = Callable[[], Awaitable[FrontEnd]]


class Resource(Protocol):
    """What our routes lead to; `access` says for each method (GET, ...) what its caller must be allowed."""

    access: ClassVar[Access]


class FrontEndLife:
    """Opens the front end when the process starts and closes it when it ends; resources reach it here."""

    front_end: FrontEnd  # from the start-up on

    def __init__(self, open_front_end: OpenFrontEnd) -> None:
        self._open = open_front_end

    async def process_startup(self, _scope: dict[str, Any], _event: dict[str, Any]) -> None:
        self.front_end = await self._open()

    async def process_shutdown(self, _scope: dict[str, Any], _event: dict[str, Any]) -> None:
        await self.front_end.close()

    @property
    def queries(self) -> Queries:
        return self.front_end.queries


class RequestIds:
    """Takes or makes the id of a request, and gives it back in the answer."""

    async def process_request(self, req: Request, resp: Response) -> None:
        request_id = fit_request_id(req.get_header("X-Request-Id")) or new_request_id()
        req.context.request_id = request_id
        resp.set_header("X-Request-Id", request_id)


class EncodedSlashes:
    """Leaves a path with an encoded slash as it came: the slash is part of an id, which is then invalid."""

    async def process_request(self, req: Request, _resp: Response) -> None:
        raw_path: bytes = req.scope.get("raw_path") or b""
        if b"%2f" in raw_path.lower():
            req.path = raw_path.decode("latin-1")


class Authorization:
    """Lets a request through to a resource when its token allows what the resource's `access` wants."""

    def __init__(self, verifier: TokenVerifier) -> None:
        self._verifier = verifier

    async def process_resource(
        self, req: Request, _resp: Response, resource: Resource, params: dict[str, Any]
    ) -> None:
        if not hasattr(resource, f"on_{req.method.lower()}"):
            return  # Falcon answers 405
        action = resource.access[req.method]  # a method without a row is a fault, never open
        if action is None:
            return
        principal = req.context.principal = await self._verifier.verify(req.get_header("Authorization"))
        account_id = params.get("account_id", "")
        if "account_id" in params:
            check_account_id("account_id", account_id)
        if not may(principal, action, account_id):
            raise Forbidden("the token does not allow this")
