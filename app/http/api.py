"""The HTTP application: its routes and what wraps them. One function makes it; importing has no effect."""

from typing import Any

import falcon.asgi

from app.config import Settings
from app.http import errors
from app.http.keys import FreshKeys
from app.http.middleware import Authorization, EncodedSlashes, FrontEndLife, OpenFrontEnd, RequestIds
from app.http.rate_limit import RateLimit
from app.http.resources import accounts, health
from app.services.rate_limit import RateLimits
from app.services.tokens import TokenVerifier


def create_app(
    settings: Settings, open_front_end: OpenFrontEnd, grpc_probe: health.Probe | None = None
) -> falcon.asgi.App[Any, Any]:
    """The app; the ASGI lifespan opens and closes its front end. With a probe, ready waits for gRPC too."""
    life = FrontEndLife(open_front_end)
    verifier = TokenVerifier(settings)
    middleware: list[Any] = [RequestIds(), EncodedSlashes(), Authorization(verifier), life]
    middleware += [FreshKeys(verifier), RateLimit(RateLimits(settings))]
    app: falcon.asgi.App[Any, Any] = falcon.asgi.App(middleware=middleware)
    errors.install(app)
    app.add_route("/api/health", health.Health(life))
    app.add_route("/api/ready", health.Ready(life, grpc_probe))
    app.add_route("/api/accounts/{account_id}/balance", accounts.Balance(life))
    return app
