"""How the service is (for people and dashboards), and whether to send it traffic (for load balancers)."""

import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import ClassVar

from falcon.asgi import Request, Response

from app.http import answers
from app.http.life import FrontEndLife
from app.http.operations import Operation, Operations
from app.services.times import iso_time

Probe = Callable[[], Awaitable[bool]]


class Health:
    """/api/health: always 200, also when degraded."""

    operations: ClassVar[Operations] = {
        "GET": Operation(
            name="getHealth",
            summary="How the service is, for people and dashboards",
            access=None,
            answers={HTTPStatus.OK: answers.Health},
        )
    }

    def __init__(self, life: FrontEndLife) -> None:
        self._life = life

    async def on_get(self, _req: Request, resp: Response) -> None:
        health = await self._life.queries.health()
        resp.media = {
            "status": "healthy" if health.ready and not self._life.bus.paused else "degraded",
            "timestamp": iso_time(time.time_ns() // 1_000_000),
            "redis": health.store,
            "paused": self._life.bus.paused,
        }


class Ready:
    """/api/ready: 200 when commands can be carried out; with a probe, also by gRPC."""

    operations: ClassVar[Operations] = {
        "GET": Operation(
            name="getReady",
            summary="Whether to send traffic here, for load balancers",
            access=None,
            answers={HTTPStatus.OK: answers.Ready, HTTPStatus.SERVICE_UNAVAILABLE: answers.Ready},
        )
    }

    def __init__(self, life: FrontEndLife, grpc_probe: Probe | None) -> None:
        self._life = life
        self._grpc_probe = grpc_probe

    async def on_get(self, _req: Request, resp: Response) -> None:
        reason = await self._why_not()
        if not reason:
            resp.media = {"ready": True}
            return
        resp.status = HTTPStatus.SERVICE_UNAVAILABLE
        resp.set_header("Retry-After", "1")
        resp.media = {"ready": False, "reason": reason}

    async def _why_not(self) -> str:
        health = await self._life.queries.health()
        if not health.ready:
            return health.reason
        if self._grpc_probe is not None and not await self._grpc_probe():
            return "gRPC does not answer"
        return ""
