"""grpc.health.v1: the server says whether commands can be carried out now, and a client asks."""

import asyncio

import grpc.aio
from grpc_health.v1 import health, health_pb2

from app.rpc.tls import aio_channel
from app.services.queries import Queries
from app.services.tls import ClientTls

SERVICE = "balance.BalanceService"
POLL_SECONDS = 1.0
_NAMES = ("", SERVICE)  # "" is the server as a whole


async def report(servicer: health.aio.HealthServicer, queries: Queries) -> None:
    """Set what the health service answers to how things are now."""
    ready = (await queries.health()).ready
    status = health_pb2.HealthCheckResponse.SERVING if ready else health_pb2.HealthCheckResponse.NOT_SERVING
    for name in _NAMES:
        await servicer.set(name, status)


async def keep_reporting(servicer: health.aio.HealthServicer, queries: Queries) -> None:
    """Report now and then every second, until cancelled."""
    while True:
        await report(servicer, queries)
        await asyncio.sleep(POLL_SECONDS)


async def is_serving(target: str, tls: ClientTls | None = None, timeout_seconds: float = 1.0) -> bool:
    """True if the service at `target` (host:port) answers that it is SERVING."""
    async with aio_channel(target, tls) as channel:
        check = channel.unary_unary(
            f"/{health.SERVICE_NAME}/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            answer = await check(health_pb2.HealthCheckRequest(service=SERVICE), timeout=timeout_seconds)
        except grpc.aio.AioRpcError:
            return False
    return answer.status == health_pb2.HealthCheckResponse.SERVING
