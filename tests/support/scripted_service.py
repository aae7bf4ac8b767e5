"""A gRPC server on the wire that answers as a test tells it to, one line of its script per attempt."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import Message

from app.client.gen import balance_pb2 as pb

Line = Message | tuple[grpc.StatusCode, str]
"""An answer, or a status with its details."""


@dataclass
class ScriptedService:
    """Where it listens, what it is yet to say, and what it was asked: method, request and authorization.

    The request of a stream is the list of its messages.
    """

    target: str = ""
    script: list[Line] = field(default_factory=list)
    asked: list[tuple[str, Any, Any]] = field(default_factory=list)

    def answers(self, *lines: Line) -> None:
        self.script += lines

    @property
    def keys(self) -> list[str]:
        """The idempotency keys that came, one per attempt."""
        return [request.idempotency_key for _, request, _ in self.asked]


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, service: ScriptedService) -> None:
        self._service = service

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any]":
        method = details.method.rpartition("/")[2]
        streams = method == "SubmitBatch"
        authorization = dict(details.invocation_metadata or ()).get("authorization")

        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            asked = list(request) if streams else request
            self._service.asked.append((method, asked, authorization))
            line = self._service.script.pop(0)
            if isinstance(line, tuple):
                context.abort(*line)
            return line

        handler = grpc.stream_unary_rpc_method_handler if streams else grpc.unary_unary_rpc_method_handler
        return handler(
            answer,
            request_deserializer=_request_class(method).FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )


def _request_class(method: str) -> Any:
    descriptor = pb.DESCRIPTOR.services_by_name["BalanceService"].methods_by_name[method]
    return getattr(pb, descriptor.input_type.name)


@contextmanager
def scripted_service(credentials: grpc.ServerCredentials | None = None) -> Iterator[ScriptedService]:
    """Serve on a free port; at the end nothing of the script may be left unsaid."""
    service = ScriptedService()
    server = grpc.server(ThreadPoolExecutor(max_workers=4), handlers=[_Handler(service)])
    if credentials:
        service.target = f"localhost:{server.add_secure_port('localhost:0', credentials)}"
    else:
        service.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield service
    finally:
        server.stop(grace=None).wait()
    assert not service.script, f"never asked for {service.script}"
