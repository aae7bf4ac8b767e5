"""`balance grpc` and `balance http`: a front end, until SIGTERM or SIGINT."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import click

from app.cli.supervisor import REFUSED
from app.config import Settings, address

_log = logging.getLogger(__name__)


@click.command()
def grpc() -> None:
    """Run one process of the gRPC front end.

    The first signal lets calls in hand finish (5 s), the second ends the process at once.
    """
    import uvloop

    settings = Settings.from_environment(os.environ)
    _begin(settings, "grpc")
    try:
        with _unfit_store_refused():
            uvloop.run(_serve_grpc(settings))
    except OSError as error:
        raise click.ClickException(str(error)) from error


@click.command()
def http() -> None:
    """Run the HTTP front end: gunicorn with HTTP_PROCESSES processes, in place of this one."""
    from app.bootstrap import check_store
    from app.services.faults import StoreUnavailable
    from app.services.tokens import TokenVerifier

    # What would end gunicorn's workers, one after the other for ever, ends this process here.
    settings = Settings.from_environment(os.environ)
    TokenVerifier(settings)
    _begin(settings, "http")
    with _unfit_store_refused(), suppress(StoreUnavailable):
        check_store(settings)
    argv = [sys.executable, "-m", "gunicorn", *gunicorn_arguments(settings)]
    os.execv(sys.executable, argv)  # noqa: S606  # nothing here is for a shell


def gunicorn_arguments(settings: Settings) -> list[str]:
    """What gunicorn is told by these settings. Naming a configuration keeps it from looking for one."""
    tls = []
    if settings.tls_cert_file and settings.tls_key_file:
        tls = [f"--certfile={settings.tls_cert_file}", f"--keyfile={settings.tls_key_file}"]
    return [
        "--config=python:app.http.gunicorn_conf",
        f"--bind={address(settings.bind_host, settings.http_port)}",
        f"--workers={settings.http_processes}",
        f"--log-level={settings.log_level}",
        *tls,
        "app.cli.asgi:application()",
    ]


def _begin(settings: Settings, process: str) -> None:
    """Set up the logs and refuse files that cannot be used. Say so where nobody's token can be checked."""
    from app.services.tls import check_files
    from app.telemetry.logs import configure_logs
    from app.telemetry.parts import check_installed

    configure_logs(settings.log_level, process, settings.log_accounts)
    check_files(settings)
    check_installed(settings)
    if not settings.has_jwt_key:
        _log.warning("no key to check tokens with is set: listening on %s only", settings.bind_host)


@contextmanager
def _unfit_store_refused() -> Iterator[None]:
    from app.services.faults import StoreUnfit

    try:
        yield
    except StoreUnfit as error:
        click.echo(f"the store cannot be used: {error}", err=True)
        sys.exit(REFUSED)


async def _serve_grpc(settings: Settings) -> None:
    from app.bootstrap import open_front_end
    from app.rpc.server import serve
    from app.telemetry.parts import Telemetry

    stop = _set_by_signals()
    front_end = await open_front_end(settings, Telemetry.begin(settings, "grpc"))
    try:
        await serve(settings, front_end, stop)
    finally:
        await front_end.close()


def _set_by_signals() -> asyncio.Event:
    """An event that the first SIGTERM or SIGINT sets; the next one ends the process."""
    stop = asyncio.Event()

    def handle(number: signal.Signals) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, handle, number)
    return stop
