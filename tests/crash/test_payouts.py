"""A file of payouts whose client and worker are killed in the middle: resumed, each line is paid once."""

import os
import signal
import sys
import time
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from tests.crash.processes import Kind, pids
from tests.support.paying import Onlooker, Payroll, kill, payroll, submitting, told
from tests.support.service import RunningService, balance, running_service
from tests.support.telling import Tell

BATCH = "payroll-1"
SOAK = [pytest.mark.soak, pytest.mark.timeout(1_200), pytest.mark.xdist_group("kills")]
STEP_SECONDS = 0.02


@pytest.mark.parametrize(
    ("lines", "accounts"), [(5_000, 1_000), pytest.param(100_000, 10_000, marks=SOAK, id="100,000")]
)
def test_a_payroll_killed_twice_pays_each_line_once(
    lines: int, accounts: int, tmp_path: Path, seed: int, tell: Tell
) -> None:
    """
    Given payouts that the client has begun to send
    If the client is killed, the same file is submitted again, and then the worker is killed
    Expect that every account gets what the file says, and that a third time nothing is paid.
    """
    paid = payroll(tmp_path / "payroll.jsonl", Random(seed), lines=lines, accounts=accounts, prefix="k")
    with running_service(PARTITIONS="16") as service, closing(Onlooker(service)) as onlooker:
        sent, settled = _killed_twice(service, onlooker, paid)
        first = told(submitting(service, paid.path, "--batch-id", BATCH), within_seconds=600)
        again = balance(service, "payouts", "submit", str(paid.path), "--batch-id", BATCH)
        batch = onlooker.batch(BATCH, brief=False)
        wrong = onlooker.wrong(paid.due)
        verified = balance(service, "verify", "--json")
    sys.stdout.write(f"seed {seed}: client killed with {sent} sent, worker with {settled} settled\n")
    tell(
        "payrolls killed", {"lines": lines, "sent before the kill": sent, "settled before the kill": settled}
    )

    assert 0 < sent < lines
    assert 0 < settled < lines
    assert (first["items"], first["total"]) == (lines, paid.total)
    assert first["applied"] + first["replayed"] == lines
    assert (batch.applied, batch.replayed, batch.refused, batch.parked) == (lines, 0, 0, 0)
    assert again.returncode == 0, again.stderr
    assert wrong == {}
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_a_client_that_was_stopped_says_that_part_may_be_paid(tmp_path: Path, seed: int) -> None:
    """
    Given payouts of which some are paid
    If the client is stopped by Ctrl-C, and the same file submitted again
    Expect exit code 3, and at the end every account to have what the file says.
    """
    paid = payroll(tmp_path / "payroll.jsonl", Random(seed), lines=5_000, accounts=500, prefix="s")
    with running_service(PARTITIONS="16") as service, closing(Onlooker(service)) as onlooker:
        (worker,) = pids(service, Kind.WORKER)
        os.kill(worker, signal.SIGSTOP)
        client = submitting(service, paid.path, "--batch-id", BATCH)
        _work_until(onlooker, worker, 1)
        client.send_signal(signal.SIGINT)
        output, _ = client.communicate(timeout=60)
        os.kill(worker, signal.SIGCONT)
        again = told(submitting(service, paid.path, "--batch-id", BATCH), within_seconds=600)
        wrong = onlooker.wrong(paid.due)

    assert (client.returncode, output) == (3, "")
    assert again["applied"] + again["replayed"] == paid.lines
    assert again["replayed"] > 0
    assert wrong == {}


def _killed_twice(service: RunningService, onlooker: Onlooker, paid: Payroll) -> tuple[int, int]:
    """Kill the client, then the worker, in the middle; what was sent at the one, settled at the other."""
    (worker,) = pids(service, Kind.WORKER)
    os.kill(worker, signal.SIGSTOP)
    client = submitting(service, paid.path, "--batch-id", BATCH)
    _work_until(onlooker, worker, paid.lines // 3)
    kill(client)
    sent = onlooker.batch(BATCH).sent
    client = submitting(service, paid.path, "--batch-id", BATCH)
    settled = _work_until(onlooker, worker, 2 * paid.lines // 3)
    os.kill(worker, signal.SIGKILL)
    answer = told(client, within_seconds=600)
    assert answer["items"] == paid.lines
    return sent, settled


def _work_until(onlooker: Onlooker, worker: int, wanted: int) -> int:
    """Let the worker go on, step by step: however fast it is, it stands still when so much is settled."""
    while (settled := onlooker.batch(BATCH).settled) < wanted:
        os.kill(worker, signal.SIGCONT)
        time.sleep(STEP_SECONDS)
        os.kill(worker, signal.SIGSTOP)
    return settled
