"""`balance simulate` against the real service: whether it tells the truth, also in its exit code."""

import json
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc

from app.rpc.gen import balance_pb2 as pb
from app.rpc.gen import balance_pb2_grpc
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
    assert "0 errors" in result.stdout
    assert result.stderr == ""


class Thief(balance_pb2_grpc.BalanceServiceServicer):
    """Opens accounts, and keeps a chip of each. Knows no other method."""

    def __init__(self) -> None:
        self.balances: dict[str, int] = {}

    def EnsureAccount(  # noqa: N802 - as the contract names it
        self, request: pb.EnsureAccountRequest, context: object
    ) -> pb.EnsureAccountResponse:
        self.balances[request.account_id] = request.initial_balance
        return pb.EnsureAccountResponse(balance=request.initial_balance, created=True)

    def GetBalance(  # noqa: N802 - as the contract names it
        self, request: pb.GetBalanceRequest, context: object
    ) -> pb.GetBalanceResponse:
        balance = self.balances[request.account_id] - 1
        return pb.GetBalanceResponse(balance=balance, available_balance=balance)


def test_a_missing_chip_and_a_failed_call_are_told() -> None:
    """Exit code 1, and the numbers that say why: a simulation that never fails proves nothing."""
    server = grpc.server(ThreadPoolExecutor(max_workers=2))
    balance_pb2_grpc.add_BalanceServiceServicer_to_server(Thief(), server)  # type: ignore[abstract]
    target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        result = simulate(target, "--players", "3", "--seconds", "0.1", "--json")
    finally:
        server.stop(grace=None).wait()
    report = json.loads(result.stdout)
    assert result.returncode == 1
    assert report["chipsFound"] == report["chipsExpected"] - 3
    assert report["errors"] >= 3
    assert "expected" in result.stderr


def test_a_service_that_is_not_there_is_told_apart() -> None:
    """Exit code 2: nothing was tried, so nothing is wrong with chips."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        nowhere = f"127.0.0.1:{unused.getsockname()[1]}"
    result = simulate(nowhere)
    assert result.returncode == 2
    assert nowhere in result.stderr


def simulate(target: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "app.cli", "simulate", "--target", target, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
