"""How a command finds the service it talks to: by its options, else by what `balance up` wrote down.

Must not hand a token to an address that it was not made for.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from app.config import Settings, address, is_loopback
from app.services.tls import ClientTls

_RUN_FILE = "run.json"
# A server may listen on every address; a client needs one of them.
_REACHED_AT = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A service started by `balance up`, as written to DATA_DIR/run.json while it runs."""

    http: str
    grpc: str
    metrics: str = ""
    redis_url: str = field(repr=False)
    data_dir: str
    token: str | None = field(repr=False)
    pid: int
    started_at: str
    tls: ClientTls | None = None

    def publish(self) -> None:
        """Write the file, for this user alone."""
        write_private(Path(self.data_dir) / _RUN_FILE, msgspec.json.encode(self))

    def withdraw(self) -> None:
        """Remove the file."""
        (Path(self.data_dir) / _RUN_FILE).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Target:
    """A service to talk to; addresses are HOST:PORT, and `redis_url` is None where it is not known."""

    grpc: str
    http: str
    token: str | None = field(default=None, repr=False)
    redis_url: str | None = field(default=None, repr=False)
    tls: ClientTls | None = None


class HttpConnection(HTTPConnection):
    """A connection to HOST:PORT, with TLS where `tls` says how."""

    def __init__(self, at: str, tls: ClientTls | None, timeout_seconds: float) -> None:
        super().__init__(at, timeout=timeout_seconds)
        self._tls = tls

    def connect(self) -> None:
        super().connect()
        if self._tls is not None:
            name = self._tls.server_name or self.host
            self.sock = self._tls.context().wrap_socket(self.sock, server_hostname=name)


def target_options(command: Command) -> Command:
    """Add the options --target and --token-file to a command, as parameters for `find_target`."""
    return _with_target(command, "The gRPC address of the service.")


def http_target_options(command: Command) -> Command:
    """The same for a command that speaks HTTP alone."""
    return _with_target(command, "The HTTP address of the service.")


def _with_target(command: Command, meaning: str) -> Command:
    token = click.option(
        "--token-file",
        "token",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        callback=_read_token,
        help="File that holds the bearer token; or set BALANCE_TOKEN.",
    )
    target = click.option("--target", metavar="HOST:PORT", help=meaning)
    return target(token(command))


def _read_token(_context: click.Context, _option: click.Parameter, path: Path | None) -> str | None:
    """The token: never from the arguments, which every user of the machine can see."""
    return path.read_text().strip() if path else os.environ.get("BALANCE_TOKEN") or None


def find_target(settings: Settings, target: str | None = None, token: str | None = None) -> Target:
    """Say where the service is: at `target`, else as started by `balance up`, else as configured.

    The HTTP front end of `target` is taken to be on the same host, on HTTP_PORT.
    """
    tls = ClientTls.of(settings)
    if target:
        host = target.rpartition(":")[0].strip("[]")
        found = Target(target, address(host, settings.http_port), token, settings.redis_url, tls)
    elif here := running(settings.data_dir):
        found = Target(here.grpc, here.http, token or here.token, here.redis_url, tls or here.tls)
    else:
        host = reachable_host(settings)
        grpc, http = address(host, settings.grpc_port), address(host, settings.http_port)
        found = Target(grpc, http, token, settings.redis_url, tls)
    if found.token and not found.tls and not settings.allow_plaintext:
        _check_loopback(found.grpc)
    return found


def _check_loopback(target: str) -> None:
    if not is_loopback(target.rpartition(":")[0].strip("[]")):
        message = f"{target} is elsewhere, and the token would go there in the clear"
        raise click.UsageError(f"{message}; set TLS_CA_FILE, or ALLOW_PLAINTEXT=on")


def running(data_dir: Path) -> Running | None:
    """Return the service that runs on this folder; None where there is none, or it was killed."""
    try:
        found = msgspec.json.decode((data_dir / _RUN_FILE).read_bytes(), type=Running)
        os.kill(found.pid, 0)
    except (OSError, msgspec.MsgspecError):
        return None
    return found


def reachable_host(settings: Settings) -> str:
    """Return the host at which this machine reaches what listens on BIND_HOST."""
    return reached_at(settings.bind_host)


def reached_at(host: str) -> str:
    """Return where this machine reaches what listens on that host."""
    return _REACHED_AT.get(host, host)


def write_private(path: Path, content: bytes) -> None:
    """Write a file for this user alone; readers see all of it or nothing."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    draft.replace(path)
