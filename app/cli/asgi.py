"""What gunicorn loads in each of its worker processes: the HTTP application, made from the environment."""

import os
from functools import partial
from typing import Any

import falcon.asgi

from app.bootstrap import open_front_end
from app.cli.target import reachable_host
from app.config import Settings, address
from app.http.api import create_app
from app.services.tls import ClientTls
from app.telemetry.parts import Telemetry


def application() -> falcon.asgi.App[Any, Any]:
    """The app. Where READY_REQUIRES_GRPC says so, it is ready when the gRPC front end beside it is."""
    settings = Settings.from_environment(os.environ)
    grpc_probe = None
    if settings.ready_requires_grpc:
        from app.rpc.health import is_serving

        grpc_probe = partial(
            is_serving, address(reachable_host(settings), settings.grpc_port), ClientTls.of(settings)
        )
    telemetry = Telemetry.begin(settings, "http")
    return create_app(settings, partial(open_front_end, settings, telemetry), grpc_probe)
