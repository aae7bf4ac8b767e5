"""What every call of our service goes through: who calls, what went wrong, under which request id."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, cast

import grpc
import grpc.aio

from app.rpc.errors import status_of
from app.services.access import Action, Forbidden, may
from app.services.request_ids import fit_request_id, new_request_id
from app.services.tokens import TokenVerifier

if TYPE_CHECKING:  # generic for type checkers alone
    Handler = grpc.RpcMethodHandler[Any, Any]
    Context = grpc.aio.ServicerContext[Any, Any]

REQUEST_ID = "x-request-id"

_log = logging.getLogger(__name__)


class CallGuard(grpc.aio.ServerInterceptor):
    """Wraps each method of one service, once; calls of other services (health, reflection) pass untouched.

    With a verifier, a call needs a bearer token that may CALL_SERVICE.
    """

    def __init__(self, service: str, verifier: TokenVerifier | None) -> None:
        self._prefix = f"/{service}/"
        self._verifier = verifier
        self._guarded: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        method = handler_call_details.method
        guarded = self._guarded.get(method)
        if guarded is not None:
            return guarded
        handler = await continuation(handler_call_details)
        if handler is None or not method.startswith(self._prefix):
            return handler
        if not iscoroutinefunction(handler.unary_unary):
            return None  # a generated stub that nobody has overridden: gRPC answers UNIMPLEMENTED by itself
        self._guarded[method] = self._guard(method, handler)
        return self._guarded[method]

    def _guard(self, method: str, handler: Handler) -> Handler:
        behave = cast("Callable[[Any, Context], Awaitable[Any]]", handler.unary_unary)
        # Decoded here and not by gRPC, which answers INTERNAL to bytes that are no message.
        decode = cast("Callable[[bytes], Any]", handler.request_deserializer)

        async def call(request: bytes, context: Context) -> Any:
            request_id = ""
            try:
                metadata: dict[str, Any] = dict(context.invocation_metadata() or ())
                if REQUEST_ID in metadata:
                    request_id = fit_request_id(metadata[REQUEST_ID]) or new_request_id()
                    context.set_trailing_metadata(((REQUEST_ID, request_id),))
                if self._verifier is not None:
                    _admit(self._verifier, metadata)
                return await behave(decode(request), context)
            except Exception as error:  # noqa: BLE001  # the last resort: whatever is raised becomes a status
                await _fail(context, method, request_id, error)

        return grpc.unary_unary_rpc_method_handler(call, response_serializer=handler.response_serializer)


def _admit(verifier: TokenVerifier, metadata: dict[str, Any]) -> None:
    principal = verifier.verify(metadata.get("authorization"))
    if not may(principal, Action.CALL_SERVICE):
        raise Forbidden("the token's scope does not allow this")


async def _fail(context: Context, method: str, request_id: str, error: Exception) -> None:
    foreseen = status_of(error)
    if foreseen is None:
        request_id = request_id or new_request_id()
        _log.error("%s failed, request %s", method, request_id, exc_info=error)
        context.set_trailing_metadata(((REQUEST_ID, request_id),))
        foreseen = grpc.StatusCode.INTERNAL, f"a fault of ours, request {request_id}"
    try:
        await context.abort(*foreseen)
    except grpc.aio.InternalError:
        # The call has ended already (its deadline): nobody listens, and gRPC would log a traceback for each.
        raise asyncio.CancelledError from None
