"""`balance verify` and `balance account`, as ops run them: beside a live service, and on a folder at rest."""

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app.domain.identifiers import partition_of
from app.storage import keys
from app.storage.backends.valkey import ValkeyBackend
from tests.support.books import Books
from tests.support.service import RunningService, balance
from tests.support.store import RealStore


def run(data_dir: Path, *arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run a command on a data folder on which no service runs."""
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *arguments],
        env=os.environ | {"DATA_DIR": str(data_dir), "REDIS_URL": ""} | environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def report_of(process: "subprocess.CompletedProcess[str]", exit_code: int) -> dict[str, Any]:
    """The one line of JSON that the command prints."""
    assert process.returncode == exit_code, process.stderr
    (line,) = process.stdout.splitlines()
    report: dict[str, Any] = json.loads(line)
    return report


def deposit(service: RunningService, account_id: str, amount: int) -> None:
    fields = (f"account_id={account_id}", f"amount={amount}", "source=test", "idempotency_key=first")
    assert balance(service, "call", "Deposit", *fields).returncode == 0


def test_a_live_service_is_verified(service: RunningService) -> None:
    """The report counts what there is, and says that it is in order."""
    deposit(service, "verify-live", 500)
    report = report_of(balance(service, "verify", "--json"), 0)
    assert report["ok"]
    assert report["findings"] == []
    assert report["accounts"] >= 1
    assert report["entries"] >= 1
    assert report["supply"]["difference"] == report["totals"]["difference"] == 0
    shown = balance(service, "verify")
    assert shown.returncode == 0
    assert "Every chip is accounted for." in shown.stdout
    assert shown.stderr == ""


def test_a_wrong_total_is_a_finding(service: RunningService) -> None:
    """Exit code 1; the place is named with what should be there and what is."""
    deposit(service, "verify-total", 500)
    backend = ValkeyBackend(service.redis_url)
    (partitions,) = backend.call("HMGET", keys.META, "partitions")
    totals = keys.totals(partition_of("verify-total", int(partitions)))
    backend.call("HINCRBY", totals, "CHIPS|held", 1)
    try:
        report = report_of(balance(service, "verify", "--json"), 1)
        shown = balance(service, "verify")
    finally:
        backend.call("HINCRBY", totals, "CHIPS|held", -1)
        backend.close()
    assert not report["ok"]
    (finding,) = report["findings"]
    assert (finding["what"], finding["where"]) == ("TOTAL_DIFFERS", f"{totals} CHIPS|held")
    assert int(finding["found"]) == int(finding["expected"]) + 1
    assert shown.returncode == 1
    assert f"TOTAL_DIFFERS at {totals} CHIPS|held" in shown.stdout


def test_an_account_is_shown_from_the_store_and_by_http(
    service: RunningService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """From the store with what it has reserved; from elsewhere what the contract tells."""
    deposit(service, "verify-show", 500)
    fields = (
        "account_id=verify-show",
        "table_id=t",
        "amount=120",
        "timeout_seconds=600",
        "idempotency_key=r",
    )
    assert balance(service, "call", "ReserveForBuyIn", *fields).returncode == 0
    told = {
        "accountId": "verify-show",
        "balance": 500,
        "availableBalance": 380,
        "currency": "CHIPS",
        "version": 1,
    }
    of_store = report_of(balance(service, "account", "show", "verify-show", "--json"), 0)
    assert of_store == told | {"reserved": 120, "status": "ACTIVE"}
    token = tmp_path / "token"
    token.write_text(f"{service.token}\n")
    elsewhere = ("--target", service.grpc, "--token-file", str(token))
    monkeypatch.setenv("HTTP_PORT", service.http.rpartition(":")[2])
    by_http = balance(service, "account", "show", "verify-show", "--json", *elsewhere)
    assert report_of(by_http, 0) == told
    unwelcome = balance(service, "account", "show", "verify-show", "--target", service.grpc)
    assert (unwelcome.returncode, unwelcome.stdout) == (2, "")
    assert "401" in unwelcome.stderr
    for where in ((), elsewhere):
        unknown = balance(service, "account", "show", "nobody", *where)
        assert (unknown.returncode, unknown.stdout) == (1, "")
        assert "there is no account nobody" in unknown.stderr


def test_a_ledger_is_shown(service: RunningService) -> None:
    """The newest first, with what each entry is about; a part of it, or one type alone."""
    deposit(service, "ledger-show", 500)
    fields = ("account_id=ledger-show", "amount=20", "reason=too much", "idempotency_key=w")
    assert balance(service, "call", "Withdraw", *fields).returncode == 0
    heading, withdrawn, deposited, counted = balance(
        service, "account", "ledger", "ledger-show"
    ).stdout.splitlines()
    assert heading.split() == ["SEQ", "TIME", "TYPE", "AMOUNT", "BALANCE", "TRANSACTION", "ABOUT"]
    assert withdrawn.split()[0] == "2"
    assert withdrawn.split()[2:5] == ["WITHDRAW", "-20", "480"]
    assert withdrawn.endswith("reason=too much")
    assert deposited.split()[2:5] == ["DEPOSIT", "+500", "500"]
    assert counted == "2 of 2 entries."
    for part in (("--skip", "1"), ("--type", "DEPOSIT"), ("--limit", "1", "--skip", "1")):
        shown = report_of(balance(service, "account", "ledger", "ledger-show", "--json", *part), 0)
        assert [entry["amount"] for entry in shown["entries"]] == [500]
    unknown = balance(service, "account", "ledger", "nobody")
    assert (unknown.returncode, unknown.stdout) == (1, "")


def test_a_folder_at_rest_is_verified(tmp_path: Path) -> None:
    """Its store runs for that long, and the first bad entry is told; the folder is free again."""
    store = RealStore(tmp_path).start()
    store.empty()
    Books(store.backend()).play()
    store.stop()
    assert report_of(run(tmp_path, "verify", "--json"), 0)["entries"] == 15
    shown = report_of(run(tmp_path, "account", "show", "alice", "--json"), 0)
    assert (shown["balance"], shown["reserved"]) == (1_600, 40)

    store.start()
    ledger = keys.ledger(partition_of("alice", 4), "alice", 0)
    store.backend().call("RPOP", ledger)
    store.stop()
    broken = run(tmp_path, "verify")
    assert broken.returncode == 1
    assert "The first bad entry is entry 4 of account alice." in broken.stdout
    assert f"ENTRY_MISSING at {ledger}" in broken.stdout
    with (tmp_path / "lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_what_cannot_be_verified_is_said(tmp_path: Path) -> None:
    """Exit code 2, which is neither yes nor no: nothing there, a folder in use, a store that is away."""
    nothing = run(tmp_path, "verify")
    assert (nothing.returncode, nothing.stdout) == (2, "")
    assert "holds no store" in nothing.stderr
    assert list(tmp_path.iterdir()) == []

    away = run(tmp_path, "verify", REDIS_URL=f"unix://{tmp_path}/none.sock")
    assert away.returncode == 2
    assert "cannot be verified" in away.stderr

    (tmp_path / "store").mkdir()
    unused = run(tmp_path, "verify", "--json")
    assert (unused.returncode, unused.stdout) == (2, "")
    assert "never used" in unused.stderr

    with (tmp_path / "lock").open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        taken = run(tmp_path, "verify")
    assert taken.returncode == 2
    assert "is in use" in taken.stderr
