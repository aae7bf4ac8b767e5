"""The wheel and what is locked, in an empty environment, run all that the deployment files name."""

import os
import shutil
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from zipfile import ZipFile

import jwt
import pytest

from tests.support.deploying import Container, composed, dockerfile_commands, lock_of_the_image
from tests.support.guarded_store import GuardedStore, guarded_store
from tests.support.ports import free_port
from tests.support.waiting import eventually
from tests.tidy.tree import ROOT

PIP = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "--quiet"]
SOURCES = ("app", "scheduler", "workers", "pyproject.toml", "setup.cfg", "README.md", "LICENSE")
NO_COLLECTOR = "http://127.0.0.1:9"  # nobody listens there, and no process minds
HEALTHY_SECONDS = 40.0
GRACE_SECONDS = 20.0
pytestmark = pytest.mark.timeout(300)  # it fetches what is locked


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of what the Dockerfile copies: building leaves files beside the source."""
    folder = tmp_path_factory.mktemp("service")
    (folder / "source").mkdir()
    for name in SOURCES:
        path = ROOT / name
        copy = shutil.copytree if path.is_dir() else shutil.copy
        copy(path, folder / "source" / name)
    build = [*PIP, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([*build, str(folder / "source")], check=True, timeout=100)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that holds the wheel and what is locked, and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, symlinks=True)
    install = [*PIP, "--python", str(folder / "bin" / "python"), "install"]
    locked = ["--require-hashes", "-r", str(ROOT / lock_of_the_image())]
    subprocess.run([*install, *locked], check=True, timeout=200)
    subprocess.run([*install, "--no-index", "--no-deps", str(wheel)], check=True, timeout=60)
    return folder / "bin"


def test_the_wheel_holds_what_is_no_module(wheel: Path) -> None:
    """The functions of the store, the pages of the interface, the types."""
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
    wanted = {
        path.relative_to(ROOT).as_posix()
        for pattern in ("*.lua", "*.pyi", "py.typed", "docs/*")
        for path in (ROOT / "app").rglob(pattern)
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert len(wanted) > 4
    assert wanted - names == set()


class Host:
    """A machine with the programs and the secrets, on which containers are run."""

    def __init__(self, programs: Path, store: GuardedStore, folder: Path) -> None:
        self._programs = programs
        self._store = store
        self._folder = folder
        names = ("HTTP_PORT", "GRPC_PORT", "METRICS_PORT")
        self.ports = {each.name: {name: free_port() for name in names} for each in composed()}
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def environ_of(self, container: Container) -> dict[str, str]:
        """The container's environment; its secrets, and ports that are free, in the places of those here."""
        secrets = {
            name: value.replace("/run/secrets", str(self._store.secrets))
            for name, value in container.environ.items()
        }
        own = {"PATH": f"{self._programs}:/usr/bin:/bin", "HOME": "/nowhere"}
        return secrets | own | self.ports[container.name] | {"OTEL_EXPORTER_OTLP_ENDPOINT": NO_COLLECTOR}

    def start(self, container: Container) -> None:
        with (self._folder / f"{container.name}.log").open("wb") as log:
            self.running[container.name] = subprocess.Popen(
                self._found(container.command),
                env=self.environ_of(container),
                cwd=self._folder,
                stdout=log,
                stderr=log,
            )

    def is_healthy(self, container: Container) -> bool:
        assert self.running[container.name].poll() is None, self.log_of(container)
        environ = self.environ_of(container)
        health = subprocess.run(
            self._found(container.health), env=environ, cwd=self._folder, capture_output=True, check=False
        )
        return health.returncode == 0

    def log_of(self, container: Container) -> str:
        return (self._folder / f"{container.name}.log").read_text(errors="replace")

    def _found(self, command: tuple[str, ...]) -> list[str]:
        return [str(self._programs / command[0]), *command[1:]]


@contextmanager
def host(programs: Path, store: GuardedStore, folder: Path) -> Iterator[Host]:
    found = Host(programs, store, folder)
    try:
        yield found
    finally:
        for process in found.running.values():
            process.kill()
            process.wait()


def test_every_command_and_health_check_of_the_files_runs(programs: Path, tmp_path: Path) -> None:
    """
    Given the store as it is shipped, and an empty environment outside the source tree
    If every process of the compose file is started there, with its user and its secrets
    Expect each to become healthy as its health check sees it, to carry a deposit out, and to stop in time.
    """
    containers = list(composed())
    run = {each.command for each in containers} | {each.health for each in containers}
    assert run >= set(dockerfile_commands())
    with guarded_store(tmp_path) as store, host(programs, store, tmp_path) as machine:
        for each in containers:
            machine.start(each)
        for each in containers:
            eventually(partial(machine.is_healthy, each), HEALTHY_SECONDS)
        assert deposited(machine.ports["http"]["HTTP_PORT"], (store.secrets / "jwt").read_text()) == 200
        for process in machine.running.values():
            process.send_signal(signal.SIGTERM)
        ends = {name: process.wait(GRACE_SECONDS) for name, process in machine.running.items()}
        assert set(ends.values()) == {0}, ends


def deposited(port: str, secret: str) -> int:
    """The status of a deposit of somebody whose token is signed with that secret."""
    now = int(time.time())
    claims = {"sub": "anna", "scope": "balance:service", "iat": now, "exp": now + 60}
    headers = {
        "Authorization": f"Bearer {jwt.encode(claims, secret, algorithm='HS256')}",
        "Content-Type": "application/json",
        "Idempotency-Key": "first",
    }
    connection = HTTPConnection(f"127.0.0.1:{port}", timeout=10)
    connection.request("POST", "/api/accounts/anna/deposit", '{"amount": 5, "source": "test"}', headers)
    status = connection.getresponse().status
    connection.close()
    return status


def test_the_code_that_runs_is_the_installed_one(programs: Path, tmp_path: Path) -> None:
    """Nothing of the source tree is on its path."""
    where = "import app, workers, scheduler; print(app.__file__, workers.__file__, scheduler.__file__)"
    found = subprocess.check_output([programs / "python", "-c", where], text=True, cwd=tmp_path, env={})
    assert all(Path(path).is_relative_to(programs.parent) for path in found.split())
    assert os.fspath(ROOT) not in found
