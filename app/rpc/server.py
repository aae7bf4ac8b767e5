"""Serves gRPC from one process until told to stop. Never to be imported before a fork."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import grpc.aio
from grpc_health.v1 import health as health_service
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from app.config import Settings, address
from app.rpc import health
from app.rpc.gen import balance_pb2
from app.rpc.guard import CallGuard
from app.rpc.servicer import BalanceServicer
from app.rpc.tls import server_credentials
from app.services.certificates import CertificateTable
from app.services.front_end import FrontEnd
from app.services.rate_limit import RateLimits
from app.services.tokens import TokenVerifier

MAX_REQUEST_BYTES = 64 * 1024
MAX_METADATA_BYTES = 16 * 1024  # gRPC's own default has no room for a token of 8 KiB
MAX_PENDING_CALLS = 4_096
DRAIN_SECONDS = 5.0
QUIET_SECONDS = 0.5
# Calls beyond what the bus lets wait: reads, health checks, and those that the bus is refusing just now.
SPARE_CALLS = 512

_SERVICE = balance_pb2.DESCRIPTOR.services_by_name["BalanceService"]
_log = logging.getLogger(__name__)


class _Unregistered:
    """A server as generated code sees it, on which no method is registered by its name.

    Where one is, a call that comes while the server stops may be answered by nobody:
    see `ops/decisions/0036-a-stop-loses-no-call.md`.
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self.add_generic_rpc_handlers = server.add_generic_rpc_handlers

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, object]) -> None:
        """Nothing: the generic handlers answer the same calls."""


async def serve(settings: Settings, front_end: FrontEnd, stop: asyncio.Event) -> None:
    """Answer calls until `stop` is set, then finish those in hand, for at most 5 s.

    Raises OSError when the address cannot be listened on.
    """
    servicer = health_service.aio.HealthServicer()
    await health.report(servicer, front_end.queries)
    verifier = TokenVerifier(settings) if settings.grpc_auth == "required" else None
    guard = CallGuard(verifier, _certificates(settings), RateLimits(settings), front_end.watch)
    server = _build(settings, guard, BalanceServicer(front_end), servicer)
    await server.start()
    try:
        async with asyncio.TaskGroup() as tasks:
            lasting = [tasks.create_task(health.keep_reporting(servicer, front_end.queries))]
            if verifier is not None:
                lasting.append(tasks.create_task(verifier.keep_fresh()))
            await stop.wait()
            for task in lasting:
                task.cancel()
    finally:
        await servicer.enter_graceful_shutdown()
        await _drain(server, guard)


async def _drain(server: grpc.aio.Server, guard: CallGuard) -> None:
    """Take no more calls, and stop when those in hand are finished, after 5 s at most.

    Sooner, when nothing was in hand, and nothing ended, for half a second: there are left then the calls that
    gRPC's core forgets in a stop, and streams without an end (watchers of the health).
    """
    stopped = asyncio.create_task(server.stop(DRAIN_SECONDS))
    ended = -1
    while not stopped.done() and (guard.in_hand or guard.ended != ended):
        ended = guard.ended
        await asyncio.wait({stopped}, timeout=QUIET_SECONDS)
    await server.stop(None)
    await stopped


def _build(
    settings: Settings,
    guard: CallGuard,
    servicer: BalanceServicer,
    health_servicer: health_service.aio.HealthServicer,
) -> grpc.aio.Server:
    server = grpc.aio.server(
        options=list(options(settings).items()),
        maximum_concurrent_rpcs=settings.max_waiting_commands + SPARE_CALLS,
    )
    server.add_generic_rpc_handlers((guard.handler(_SERVICE, servicer),))
    names = health.SERVICE, health_service.SERVICE_NAME, reflection.SERVICE_NAME
    nameless: Any = _Unregistered(server)
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, nameless)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(  # type: ignore[no-untyped-call]
        reflection.aio.ReflectionServicer(names), nameless
    )
    _listen(server, settings)
    return server


def _certificates(settings: Settings) -> CertificateTable | None:
    if settings.tls_client_methods is None:
        return None
    return CertificateTable(settings.tls_client_methods, _SERVICE.methods_by_name)


def _listen(server: grpc.aio.Server, settings: Settings) -> None:
    host, port = settings.bind_host, settings.grpc_port
    credentials = server_credentials(settings)
    try:
        if credentials is None:
            port = server.add_insecure_port(address(host, port))
        else:
            port = server.add_secure_port(address(host, port), credentials)
    except RuntimeError as error:
        raise OSError(f"GRPC_PORT {port} of {host} cannot be listened on; it may be taken") from error
    _log.info("gRPC on %s, %s", address(host, port), "in the clear" if credentials is None else "with TLS")


def options(settings: Settings) -> Mapping[str, int]:
    """What gRPC itself is told: sizes, calls that may wait, keepalive."""
    return {
        "grpc.max_receive_message_length": MAX_REQUEST_BYTES,
        "grpc.max_metadata_size": MAX_METADATA_BYTES,
        # Several servers share a port only on purpose; otherwise a second one is an error, not a surprise.
        "grpc.so_reuseport": int(settings.grpc_processes > 1),
        # Calls not yet looked at. A burst is to come through and be told RESOURCE_EXHAUSTED, but calls may
        # come faster than Python can refuse them: were all let in, each would be looked at only after its
        # caller had given up, and none be answered. Beyond so many gRPC itself ends calls at once: CANCELLED.
        "grpc.server.max_pending_requests": MAX_PENDING_CALLS,
        "grpc.server.max_pending_requests_hard_limit": MAX_PENDING_CALLS,
        # A caller whose machine died is noticed; one that pings every 10 s is welcome.
        "grpc.keepalive_time_ms": 30_000,
        "grpc.keepalive_timeout_ms": 10_000,
        "grpc.http2.min_ping_interval_without_data_ms": 10_000,
        "grpc.keepalive_permit_without_calls": 1,  # else gRPC closes an idle connection at its third ping
    }
