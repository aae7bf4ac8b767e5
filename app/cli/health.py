"""`balance health`: whether a process works, asked from beside it, where there are no other tools."""

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from http.client import HTTPConnection as PlainConnection
from http.client import HTTPException

import click

from app.bootstrap import store_url
from app.cli.target import HttpConnection, reachable_host, reached_at
from app.config import Settings, address
from app.rpc.health import is_serving
from app.services.faults import BalanceFault
from app.services.tls import ClientTls
from app.storage import keys
from app.storage.audits.queue import GROUP
from app.storage.backends.valkey import ValkeyBackend, milliseconds

_TIMEOUT_SECONDS = 3.0
_SCRAPE_SECONDS = 4.0  # a store that is away is waited for, for half of that
_OK = 200
AWAY_MS = 20_000  # an audit task takes seconds


def _http(settings: Settings) -> str:
    """It answers; that it is ready is another question, which load balancers ask."""
    at = address(reachable_host(settings), settings.http_port)
    return _answers(HttpConnection(at, ClientTls.of(settings), _TIMEOUT_SECONDS), "/api/health")


def _grpc(settings: Settings) -> str:
    """It serves: the store takes writes, and every partition has an owner."""
    at = address(reachable_host(settings), settings.grpc_port)
    serving = asyncio.run(is_serving(at, ClientTls.of(settings), _TIMEOUT_SECONDS))
    return "" if serving else f"{at} is not serving"


def _worker(settings: Settings) -> str:
    """A worker of this host has said within its lease that it is alive."""
    host = socket.gethostname()
    with closing(ValkeyBackend(store_url(settings))) as backend:
        now = milliseconds(backend.call("TIME"))
        alive = backend.call("ZRANGEBYSCORE", keys.WORKERS, now, "+inf")
    return (
        "" if any(name.decode().startswith(f"{host}-") for name in alive) else f"no worker of {host} is alive"
    )


def _scheduler(settings: Settings) -> str:
    """One of the schedulers leads: this one does, or stands by."""
    with closing(ValkeyBackend(store_url(settings))) as backend:
        now = milliseconds(backend.call("TIME"))
        until = int(backend.call("HGET", keys.SCHEDULER, "until") or 0)
    return "" if until > now else "no scheduler leads"


def _auditor(settings: Settings) -> str:
    """One of the auditors has looked for work just now."""
    with closing(ValkeyBackend(store_url(settings))) as backend:
        found = backend.call("XINFO", "CONSUMERS", keys.AUDIT_QUEUE, GROUP)
    idle = [dict(zip(each[::2], each[1::2], strict=True))[b"idle"] for each in found]
    return "" if min(idle, default=AWAY_MS) < AWAY_MS else "no auditor looks for work"


def _metrics(settings: Settings) -> str:
    """The page answers, whatever the store does."""
    at = address(reached_at(settings.metrics_host), settings.metrics_port)
    return _answers(PlainConnection(at, timeout=_SCRAPE_SECONDS), "/metrics")


_CHECKS: Mapping[str, Callable[[Settings], str]] = {
    "http": _http,
    "grpc": _grpc,
    "worker": _worker,
    "scheduler": _scheduler,
    "auditor": _auditor,
    "metrics": _metrics,
}


@click.command()
@click.argument("process", type=click.Choice(list(_CHECKS)))
def health(process: str) -> None:
    """Ask a process of this host how it is. Exit code 0 when it works, 1 when it does not."""
    settings = Settings.from_environment(os.environ)
    try:
        why = _CHECKS[process](settings)
    except (BalanceFault, OSError, HTTPException) as error:
        why = f"{type(error).__name__}: {error}"
    if why:
        click.echo(f"{process}: {why}", err=True)
        sys.exit(1)


def _answers(connection: PlainConnection, path: str) -> str:
    with closing(connection):
        connection.request("GET", path)
        status = connection.getresponse().status
    return "" if status == _OK else f"{path} answers {status}"
