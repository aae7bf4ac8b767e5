"""A service of single processes as ops have it in hand: HTTP, command line, workers to be replaced."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from app.config import Settings
from app.services.tokens import mint
from tests.support.deployment import Deployment, deployment
from tests.support.ports import free_port
from tests.support.service import RunningService
from tests.support.tokens import SECRET
from tests.support.waiting import eventually
from tests.support.web import Answer, ask, post
from tests.support.workers import ROOT, WorkerProcess

PARTITIONS = 4
GONE_AFTER_SECONDS = 0.3


class Operated:
    """A deployment with an HTTP front end, and Olga, who is of ops."""

    def __init__(self, deployed: Deployment, folder: Path) -> None:
        self.deployed = deployed
        self._environ = {
            "HTTP_PORT": free_port(),
            "JWT_HS256_SECRET": SECRET,
            "REDIS_URL": deployed.store.url,
            "DATA_DIR": str(folder),
            "PARTITIONS": str(PARTITIONS),
        }
        settings = Settings(jwt_hs256_secret=SECRET)
        self.olga = mint(settings, "olga", ["balance:ops"])
        poker = mint(settings, "poker", ["balance:service"])
        self.service = RunningService(
            grpc=deployed.address,
            http=f"127.0.0.1:{self._environ['HTTP_PORT']}",
            metrics="",
            token=poker,
            data_dir=str(folder),
            redis_url=deployed.store.url,
            pid=0,
        )
        self.front_end = self.begin_http()

    def begin_http(self) -> WorkerProcess:
        """Start the HTTP front end: at first, and in the place of one that was killed."""
        return self.deployed.front_end("app.cli", "http", **self._environ)

    def until_ready(self) -> None:
        """Wait until commands are carried out."""

        def ready() -> bool:
            try:
                return ask(self.service, "/api/ready").status == 200
            except OSError:
                return False

        eventually(ready, within_seconds=20)

    def broken_worker(self, *account_ids: str, **environ: str) -> WorkerProcess:
        """A worker to whose code deposits to these accounts are a fault."""
        return self.deployed.worker("tests.support.odd_worker", "--raise", *account_ids, **environ)

    def deposit(self, account_id: str, key: str, amount: int = 10) -> Answer:
        """A deposit, as the poker service asks for it."""
        body = {"amount": amount, "source": "s"}
        return post(self.service, f"/api/accounts/{account_id}/deposit", body, key=key)

    def balance_of(self, account_id: str) -> int:
        """What the account holds; 0 when there is none."""
        answer = ask(self.service, f"/api/accounts/{account_id}/balance", self.service.token)
        return answer.body["balance"] if answer.status == 200 else 0

    def ask_and_go(self, account_id: str, key: str) -> None:
        """A deposit whose caller does not wait for the answer."""
        connection = HTTPConnection(self.service.http, timeout=GONE_AFTER_SECONDS)
        headers = {
            "Authorization": f"Bearer {self.service.token}",
            "Content-Type": "application/json",
            "Idempotency-Key": key,
        }
        body = json.dumps({"amount": 10, "source": "s"})
        with closing(connection), suppress(TimeoutError):
            connection.request("POST", f"/api/accounts/{account_id}/deposit", body, headers)
            connection.getresponse()

    def look(self, path: str) -> Any:
        """What Olga finds at /api/ops/PATH."""
        answer = ask(self.service, f"/api/ops/{path}", self.olga)
        assert answer.status == 200, answer
        return answer.body

    def act(self, path: str, **body: Any) -> Any:
        """What comes of what Olga sends to /api/ops/PATH."""
        answer = post(self.service, f"/api/ops/{path}", {"reason": "r"} | body, token=self.olga)
        assert answer.status == 200, answer
        return answer.body

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """What Olga types behind `balance`."""
        return subprocess.run(
            [sys.executable, "-m", "app.cli", *arguments],
            cwd=ROOT,
            env=os.environ | self._environ | {"BALANCE_TOKEN": self.olga},
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )

    def told(self, *arguments: str, exit_code: int = 0) -> Any:
        """The same with `--json`: the object on the one line of its output."""
        run = self.run(*arguments, "--json")
        assert run.returncode == exit_code, (arguments, run.returncode, run.stdout, run.stderr)
        (line,) = run.stdout.splitlines()
        return json.loads(line)


@contextmanager
def operated(folder: Path) -> Iterator[Operated]:
    """Such a service, with no worker yet."""
    with deployment(folder, PARTITIONS) as deployed:
        yield Operated(deployed, folder)
