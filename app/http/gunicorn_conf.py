"""How gunicorn runs the HTTP front end. Address, processes and log level come from Settings, as arguments."""

import ssl
from collections.abc import Callable
from typing import Any

from gunicorn.glogging import Logger

from app.telemetry.logs import configure_logs


class Logs(Logger):  # type: ignore[misc]
    """gunicorn's own messages, in the form of all others."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        configure_logs(cfg.loglevel, "http")
        self.error_log.handlers.clear()
        self.error_log.propagate = True


def ssl_context(_config: Any, make: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """The context, or the end of this process: gunicorn's worker would log an error and serve without TLS."""
    try:
        context = make()
    except Exception as error:
        raise SystemExit(f"TLS_CERT_FILE or TLS_KEY_FILE cannot be used: {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


worker_class = "app.http.worker.CarefulWorker"
asgi_lifespan = "on"  # the front end opens in it: without it nothing works
preload_app = False  # connections and gRPC's threads do not survive a fork
graceful_timeout = 10
keepalive = 5  # shorter than the line above: an idle connection holds up the stop, and then nothing is closed
limit_request_field_size = 32 * 1024  # above our limit for tokens: what we answer to longer ones is ours
control_socket_disable = True  # by default it is written into the home folder
logger_class = Logs
