"""`balance simulate` against the real service: whether it tells the truth, also in its exit code."""

import json
import os
import socket
import subprocess
import sys

from tests.support.service import RunningService, balance

# What each run must have seen, however short: this is how the service answers each kind of mistake.
KINDS = {
    "EnsureAccount": {"OK"},
    "Deposit": {"OK", "REPEATED", "IDEMPOTENCY_KEY_REUSED"},
    "ReserveForBuyIn": {"OK", "INSUFFICIENT_BALANCE"},
    "CommitReservation": {"OK", "RESERVATION_NOT_HELD", "RESERVATION_NOT_FOUND"},
    "ReleaseReservation": {"OK", "ALREADY_COMMITTED"},
    "ProcessCashOut": {"OK"},
    "GetBalance": {"OK"},
    "Withdraw": {"OK", "ACCOUNT_NOT_FOUND"},
}


def test_a_run_accounts_for_every_chip(service: RunningService) -> None:
    """Twenty players for two seconds: all kinds of calls, no error, and the chips that must be there."""
    result = balance(service, "simulate", "--players", "20", "--seconds", "2", "--json")
    report = json.loads(result.stdout)
    assert result.returncode == 0, result.stderr
    assert report["chipsFound"] == report["chipsExpected"] > 0
    assert report["errors"] == 0
    assert 0 < report["p50Ms"] <= report["p99Ms"]
    assert report["callsPerSecond"] > 0
    for method, outcomes in KINDS.items():
        assert outcomes <= report["calls"][method].keys(), method


def test_the_shortest_run_makes_every_kind_of_call(service: RunningService) -> None:
    """The first player makes each move once; the same seed on the same service is another run."""
    for _ in range(2):
        arguments = ["simulate", "--players", "1", "--seconds", "0.01", "--seed", "7", "--json"]
        result = balance(service, *arguments)
        report = json.loads(result.stdout)
        assert result.returncode == 0, result.stderr
        assert report["seed"] == 7
        for method, outcomes in KINDS.items():
            assert outcomes <= report["calls"][method].keys(), method


def test_people_get_a_table(service: RunningService) -> None:
    """Without --json, and no progress bar where nobody watches."""
    result = balance(service, "simulate", "--players", "3", "--seconds", "0.1")
    assert result.returncode == 0
    assert "INSUFFICIENT_BALANCE" in result.stdout
    assert "errors 0" in result.stdout
    assert result.stderr == ""


def test_a_service_that_is_not_there_is_told_apart() -> None:
    """Exit code 2: nothing was tried, so nothing is wrong with chips."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nowhere = f"127.0.0.1:{taken.getsockname()[1]}"
    command = [sys.executable, "-m", "app.cli", "simulate", "--target", nowhere]
    result = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 2
    assert nowhere in result.stderr
