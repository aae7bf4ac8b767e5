"""Serves /metrics, in a thread of its own: to whoever can reach the address, so it names no player."""

import logging
import threading
import time
from wsgiref.simple_server import WSGIServer

from prometheus_client import start_http_server
from prometheus_client.registry import Collector, CollectorRegistry

_TRY_SECONDS = 1.0
_log = logging.getLogger(__name__)


def serve(host: str, port: int, *collectors: Collector) -> WSGIServer:
    """Serve what these collect until the process ends. Raises OSError where the port is taken."""
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    try:
        server, _ = start_http_server(port, host, registry)
    except OSError as error:
        raise OSError(f"METRICS_PORT {port} of {host} cannot be listened on: {error.strerror}") from error
    _log.info("metrics on %s port %d", host, server.server_port)
    return server


class PageWhereFree(threading.Thread):
    """Serves the page as soon as nobody else of this machine does: those who share one agree by the port.

    Whoever has it serves for all; when that process ends, another one takes over.
    """

    def __init__(self, host: str, port: int, *collectors: Collector) -> None:
        super().__init__(name="metrics", daemon=True)
        self._where = host, port
        self._collectors = collectors

    def run(self) -> None:
        """Try until it is ours."""
        said = ""
        while True:
            try:
                serve(*self._where, *self._collectors)
            except OSError as taken:
                if str(taken) != said:
                    _log.info("not served from here: %s", taken)
                said = str(taken)
                time.sleep(_TRY_SECONDS)
            else:
                return
