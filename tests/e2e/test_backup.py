"""`balance backup` and `balance restore`, as ops run them: beside a service at work, and when all is lost."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from app.domain.identifiers import partition_of
from app.storage import keys
from tests.support.books import Books
from tests.support.load import load_on
from tests.support.service import RunningService, balance
from tests.support.store import RealStore


def run(*arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run a command where no service runs, unless the environment says where."""
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *arguments],
        env=os.environ | {"REDIS_URL": ""} | environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def told(process: "subprocess.CompletedProcess[str]", exit_code: int = 0) -> dict[str, Any]:
    """The one line of JSON that the command prints."""
    assert process.returncode == exit_code, process.stdout + process.stderr
    found: dict[str, Any] = json.loads(process.stdout)
    return found


def test_a_backup_of_a_service_under_load_is_whole(
    service: RunningService, seed: int, tmp_path: Path
) -> None:
    """
    Given a service under load
    If it is backed up, and the backup restored into a folder without data
    Expect one moment of the store: every chip accounted for, and no commit missing that was there before.
    """
    copy, data = tmp_path / "copy", tmp_path / "data"

    async def backed_up() -> "subprocess.CompletedProcess[str]":
        async with load_on(service.grpc, seed, hasty=12, patient=4) as load:
            taken = await asyncio.to_thread(balance, service, "backup", str(copy), "--json")
            assert load.in_flight
        assert load.checker.problems() == []
        return taken

    manifest = told(asyncio.run(backed_up()))
    found = told(run("restore", str(copy), "--json", DATA_DIR=str(data)))
    assert found["ok"]
    assert found["report"]["entries"] > 0
    assert found["commits"] >= manifest["commits"] > 0
    assert found["restoredTo"] == str(data / "store")

    verified = told(run("verify", "--json", DATA_DIR=str(data)))
    assert verified["entries"] == found["report"]["entries"]
    again = run("restore", str(copy), DATA_DIR=str(data))
    assert again.returncode == 2
    assert "never replaces data" in again.stderr


def test_a_backup_that_is_not_what_was_taken_is_not_restored(tmp_path: Path) -> None:
    """
    Given a backup of which a byte has changed, and one of a store from which chips are missing
    If they are restored
    Expect to be told that, and nothing to be restored.
    """
    good, poor, into = tmp_path / "good", tmp_path / "poor", tmp_path / "into"
    store = RealStore(tmp_path / "data").start()
    try:
        store.empty()
        Books(store.backend()).play()
        told(run("backup", str(good), "--json", REDIS_URL=store.url))
        assert "never replaces" in run("backup", str(good), REDIS_URL=store.url).stderr
        partition = partition_of("alice", 4)
        store.backend().call("HINCRBY", keys.account(partition, "alice"), "balance", -100)
        told(run("backup", str(poor), "--json", REDIS_URL=store.url))
    finally:
        store.stop()
    assert {path.name for path in good.iterdir()} == {"store.rdb", "manifest.json"}
    assert "Every chip is accounted for." in run("restore", str(good), "--check").stdout

    missing = told(run("restore", str(poor), "--into", str(into), "--json"), exit_code=1)
    assert missing["report"]["findings"]
    content = bytearray((good / "store.rdb").read_bytes())
    content[len(content) // 2] ^= 1
    (good / "store.rdb").write_bytes(content)
    spoilt = run("restore", str(good), "--into", str(into))
    assert spoilt.returncode == 2
    assert "is not what was taken" in spoilt.stderr
    assert not into.exists()


def test_what_cannot_be_backed_up_leaves_nothing_behind(tmp_path: Path) -> None:
    """A store that is away, and one that was never used."""
    store = RealStore(tmp_path / "data").start()
    try:
        unused = run("backup", str(tmp_path / "copy"), REDIS_URL=store.url)
    finally:
        store.stop()
    away = run("backup", str(tmp_path / "copy"), REDIS_URL=store.url)
    assert (unused.returncode, away.returncode) == (2, 2)
    assert "never used" in unused.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"data"}
