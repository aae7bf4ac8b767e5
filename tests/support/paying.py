"""Files of payouts for tests, the command that pays them, and what the accounts must hold afterwards."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import grpc

from app.client import BalanceClient
from app.rpc.gen import balance_pb2 as pb
from app.rpc.gen import balance_pb2_grpc
from tests.support.service import RunningService

COUNTS = ("applied", "replayed", "refused", "parked")


@dataclass
class Payroll:
    """A file of payouts, and the chips that each account is to get by it."""

    path: Path
    due: Counter[str] = field(default_factory=Counter)
    lines: int = 0

    @property
    def total(self) -> int:
        return self.due.total()


def payroll(path: Path, rng: Random, *, lines: int, accounts: int, prefix: str) -> Payroll:
    """A file of so many payouts, as JSON lines, to so many accounts."""
    made = Payroll(path)
    with path.open("w") as file:
        for _ in range(lines):
            account, amount = f"{prefix}-{rng.randrange(accounts)}", rng.randint(1, 500)
            file.write(json.dumps({"account": account, "amount": amount}) + "\n")
            made.due[account] += amount
            made.lines += 1
    return made


def submitting(service: RunningService, path: Path, *options: str) -> "subprocess.Popen[str]":
    """`balance payouts submit`, on its way."""
    return subprocess.Popen(
        [sys.executable, "-m", "app.cli", "payouts", "submit", str(path), "--json", *options],
        env=os.environ | {"DATA_DIR": service.data_dir},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def kill(process: "subprocess.Popen[str]") -> None:
    """End it without a chance to say goodbye."""
    process.send_signal(signal.SIGKILL)
    process.communicate()


def told(process: "subprocess.Popen[str]", within_seconds: float) -> dict[str, Any]:
    """What it prints at its end."""
    output, _ = process.communicate(timeout=within_seconds)
    answer: dict[str, Any] = json.loads(output)
    return answer


class Onlooker:
    """Asks a service how far a batch is, and what accounts hold."""

    def __init__(self, service: RunningService) -> None:
        self._channel = grpc.insecure_channel(service.grpc)
        self._stub = balance_pb2_grpc.BalanceServiceStub(self._channel)
        self._client = BalanceClient(service.grpc)

    def batch(self, batch_id: str, *, brief: bool = True) -> pb.Batch:
        """The batch; all zeros while there is none."""
        answer: pb.GetBatchResponse = self._stub.GetBatch(
            pb.GetBatchRequest(batch_id=batch_id, brief=brief), timeout=30, wait_for_ready=True
        )
        return answer.batch

    def wrong(self, due: Counter[str]) -> dict[str, tuple[int, int]]:
        """The accounts that do not hold what is due to them: what they hold, and what they should."""
        held = {account: self._client.get_balance(account).balance for account in due}
        return {account: (held[account], due[account]) for account in due if held[account] != due[account]}

    def close(self) -> None:
        self._client.close()
        self._channel.close()
