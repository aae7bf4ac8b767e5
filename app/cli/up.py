"""`balance up`: the whole service on one machine: store, workers, scheduler and front ends, kept running.

Prepares folder, ports and development secret, then supervises; serves nothing itself.
"""

import asyncio
import errno
import fcntl
import logging
import os
import secrets
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import msgspec

from app.cli.supervisor import REFUSED, Child, Supervisor
from app.cli.target import HttpConnection, Running, reachable_host, reached_at, write_private
from app.config import Settings, address
from app.services.access import OPS_SCOPE, SERVICE_SCOPE
from app.services.tls import ClientTls
from app.services.tokens import mint
from app.storage.embedded import EmbeddedStore, EmbeddedStoreError

_READY_WITHIN_SECONDS = 30.0
_PROBE_TIMEOUT_SECONDS = 2.0
_POLL_SECONDS = 0.05
_LOCK_WAIT_SECONDS = 20.0  # longer than children of a killed supervisor can live
_TOKEN_LIFE_SECONDS = 30 * 86_400
_STORE = "store"
_METRICS = "metrics"
_PORTS = ("HTTP_PORT", "GRPC_PORT", "METRICS_PORT")

_BANNER = """\
balance is up

  HTTP  {http}
  gRPC  {grpc}
  metrics  http://{metrics}/metrics
  data  {data_dir}

Try, in another terminal:

  {balance} call Deposit account_id=alice amount=1000 source=demo idempotency_key=first
  {balance} simulate --players 200 --seconds 10
  {balance} verify

{about_keys}  TOKEN={token}
  curl {trust}-H "Authorization: Bearer $TOKEN" {http}/api/accounts/alice/balance

Stop it with Ctrl-C."""
_DEVELOPMENT = """\
  No key is set, so it listens on this machine only. Tokens are signed with the secret in the data folder.

"""


class CouldNotRunError(click.ClickException):
    """The service cannot run here; the message says why."""

    exit_code = REFUSED


@dataclass(frozen=True, slots=True, repr=False)  # holds secrets
class Site:
    """Everything decided before the first process starts; `environ` is what the children get."""

    settings: Settings
    environ: Mapping[str, str]
    store: EmbeddedStore | None
    token: str | None
    lock: int

    def running(self) -> Running:
        """Describe the service to other commands."""
        host = reachable_host(self.settings)
        return Running(
            http=address(host, self.settings.http_port),
            grpc=address(host, self.settings.grpc_port),
            metrics=address(reached_at(self.settings.metrics_host), self.settings.metrics_port),
            redis_url=self.settings.redis_url or "",
            data_dir=str(self.settings.data_dir),
            token=self.token,
            pid=os.getpid(),
            started_at=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            tls=ClientTls.of(self.settings),
        )


@click.command()
@click.option(
    "--ephemeral", is_flag=True, help="Free ports, a throw-away folder, one line of JSON when ready."
)
def up(*, ephemeral: bool) -> None:
    """Run the whole service on this machine until Ctrl-C.

    Without REDIS_URL it brings its own store, with its data in DATA_DIR. Standard output carries the
    greeting (with --ephemeral one line of JSON), standard error the logs.
    """
    environ = dict(os.environ)
    with ExitStack() as stack:
        if ephemeral:
            folder = stack.enter_context(TemporaryDirectory(prefix="balance-"))
            environ |= {"DATA_DIR": folder} | dict.fromkeys(_PORTS, "0")
        site = stack.enter_context(prepared(environ))
        logging.basicConfig(level=site.settings.log_level.upper(), format="%(asctime)s up: %(message)s")
        exit_code = asyncio.run(_supervise(site, greeting=_one_line if ephemeral else _banner))
    sys.exit(exit_code)


@contextmanager
def prepared(environ: Mapping[str, str]) -> Iterator[Site]:
    """Lock the data folder and settle every open choice; raise CouldNotRunError where that fails."""
    settings = Settings.from_environment(environ)
    shown, data_dir = settings.data_dir, settings.data_dir.absolute()
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise CouldNotRunError(f"DATA_DIR {shown} cannot be used: {error.strerror}") from error
    try:
        _take(lock, shown)
        own = {"DATA_DIR": str(data_dir), "METRICS_DIR": str(data_dir / _METRICS), "SERVE_METRICS": "off"}
        resolved = {**environ, **own, "READY_REQUIRES_GRPC": "on", **_ports(settings)}
        shutil.rmtree(data_dir / _METRICS, ignore_errors=True)  # counters begin with the service
        token, store = None, None
        if not settings.has_jwt_key:
            resolved["JWT_HS256_SECRET"] = secret = _development_secret(data_dir)
            token = _development_token(secret, settings)
        if not settings.redis_url:
            store = EmbeddedStore.prepare(data_dir, settings.store_memory_mb)
            resolved["REDIS_URL"] = store.url
        yield Site(Settings.from_environment(resolved), resolved, store, token, lock)
    except EmbeddedStoreError as error:
        raise CouldNotRunError(str(error)) from error
    finally:
        os.close(lock)


def _take(lock: int, shown: Path) -> None:
    """Take the lock, waiting only for what a killed `balance up` left behind to end."""
    deadline = time.monotonic() + _LOCK_WAIT_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            owner = os.pread(lock, 20, 0).decode() or "unknown"
            if _is_alive(owner) or time.monotonic() > deadline:
                message = f"DATA_DIR {shown} is in use by another balance up (pid {owner})"
                raise CouldNotRunError(message) from None
            time.sleep(_POLL_SECONDS)
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)


def _is_alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


def _ports(settings: Settings) -> dict[str, str]:
    """Return the ports to serve on, free ones for 0; refuse one that somebody else serves on.

    Two gRPC servers would share a port silently, each answering some of the calls.
    """
    chosen = {}
    with ExitStack() as held:  # held together, so that free ports differ
        for name in _PORTS:
            host = settings.metrics_host if name == "METRICS_PORT" else settings.bind_host
            port: int = getattr(settings, name.lower())
            taken = held.enter_context(_listening(name, host, port))
            chosen[name] = str(taken.getsockname()[1])
    return chosen


def _listening(name: str, host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be opened: {error.strerror}"
        raise CouldNotRunError(f"{name} {port} {why}") from error


def _development_secret(data_dir: Path) -> str:
    """Return the secret of this folder, made once."""
    path = data_dir / "dev-secret"
    if not path.exists():
        write_private(path, secrets.token_hex(32).encode())
    return path.read_text()


def _development_token(secret: str, settings: Settings) -> str:
    signing = replace(settings, jwt_hs256_secret=secret)
    return mint(signing, "dev", [SERVICE_SCOPE, OPS_SCOPE], lifetime_seconds=_TOKEN_LIFE_SECONDS)


async def _supervise(site: Site, greeting: Callable[[Running], str]) -> int:
    """Start everything, greet when it is ready, and keep it running; return the exit code."""
    async with Supervisor() as supervisor:
        if site.store:
            await supervisor.start(_child(site, _STORE, site.store.command()))
            await site.store.wait_until_ready(alive=lambda: supervisor.restarts(_STORE) == 0)
        await supervisor.start(_child(site, _METRICS, _python("app.cli", _METRICS)))
        await supervisor.start(*_workers(site))
        await supervisor.start(_child(site, "auditor", _python("workers.auditor")))
        await supervisor.start(_child(site, "scheduler", _python("scheduler.main")))
        await supervisor.start(*_front_ends(site))
        await _until_ready(site.settings)
        running = site.running()
        running.publish()
        try:
            click.echo(greeting(running))
            await supervisor.run()
        finally:
            running.withdraw()
    return supervisor.exit_code


def _child(site: Site, name: str, argv: Sequence[str]) -> Child:
    # Each child holds the lock too: after a kill the folder and the ports stay taken until all are gone.
    return Child(name=name, argv=argv, env=site.environ, pass_fds=[site.lock])


def _python(*arguments: str) -> list[str]:
    return [sys.executable, "-m", *arguments]


def _workers(site: Site) -> list[Child]:
    argv = _python("workers.main")
    return [_child(site, f"worker-{n}", argv) for n in range(1, site.settings.workers + 1)]


def _front_ends(site: Site) -> list[Child]:
    argv = _python("app.cli", "grpc")
    grpc = [_child(site, f"grpc-{n}", argv) for n in range(1, site.settings.grpc_processes + 1)]
    return [*grpc, _child(site, "http", _python("app.cli", "http"))]


async def _until_ready(settings: Settings) -> None:
    """Return when both front ends take requests; raise CouldNotRunError when that takes too long."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + _READY_WITHIN_SECONDS
    while why := await asyncio.to_thread(_why_not_ready, settings):
        if clock() > deadline:
            raise CouldNotRunError(f"not ready within {_READY_WITHIN_SECONDS:g} s: {why}")
        await asyncio.sleep(_POLL_SECONDS)


def _why_not_ready(settings: Settings) -> str:
    """Ask both front ends; an empty text means that they are ready."""
    host = reachable_host(settings)
    at = address(host, settings.http_port)
    http = HttpConnection(at, ClientTls.of(settings), _PROBE_TIMEOUT_SECONDS)
    asked = "HTTP"
    try:
        http.request("GET", "/api/ready")
        answer = http.getresponse()
        body = answer.read()
        if answer.status != HTTPStatus.OK:
            return f"/api/ready answers {answer.status} {body.decode(errors='replace')[:500]}"
        asked = "gRPC"
        socket.create_connection((host, settings.grpc_port), _PROBE_TIMEOUT_SECONDS).close()
        asked = "metrics page"
        at_metrics = reached_at(settings.metrics_host), settings.metrics_port
        socket.create_connection(at_metrics, _PROBE_TIMEOUT_SECONDS).close()
    except (OSError, HTTPException) as error:
        return f"{asked} does not answer: {error}"
    finally:
        http.close()
    return ""


def _banner(running: Running) -> str:
    token = running.token or "'one of yours, as a JWT key is configured'"
    http, trust = f"http://{running.http}", ""
    if running.tls:
        http, trust = f"https://{running.http}", f"--cacert {running.tls.ca_file} "
    about_keys = _DEVELOPMENT if running.token else ""
    shown = {
        "grpc": running.grpc,
        "metrics": running.metrics,
        "data_dir": running.data_dir,
        "token": token,
        "about_keys": about_keys,
    }
    return _BANNER.format(http=http, trust=trust, balance=_command(), **shown)


def _command() -> str:
    """How this command is called from here: `make run` puts nothing on the PATH."""
    called, found = Path(sys.argv[0]), shutil.which("balance")
    by_name = called.name != "balance" or (found is not None and called.samefile(found))
    return "balance" if by_name else sys.argv[0]


def _one_line(running: Running) -> str:
    return msgspec.json.encode(running).decode()
