"""Auditing a store of a million ledger entries: by `balance verify`, and by a full pass of an auditor.

Each is a process of its own, alone with the store: its time, CPU and memory are told, and the store's CPU.
"""

import os
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass

from app.services.audits import AuditTask, Work
from app.storage import keys
from app.storage.audits.retention import Kept
from app.storage.audits.state import Rules
from app.storage.audits.summary import read_summary
from app.storage.audits.tasks import StoreAudits
from app.storage.backends.valkey import ValkeyBackend
from app.storage.plan import Plan
from ops.bench.seeding import Seeder
from ops.bench.servers import python, store_alone

ENTRIES = 1_000_000
HOT_ACCOUNTS = 20
PARTITIONS = 64
DAY_MS = 86_400_000


@dataclass(slots=True, frozen=True)
class Audited:
    """What an audit took: seconds, CPU seconds of its own and of the store, and MB at most."""

    seconds: float
    cpu: float
    store_cpu: float
    memory: float


def print_audits(entries: int = ENTRIES) -> None:
    """Seed a store, audit it both ways, and print the table."""

    def seed(seeding: Seeder) -> None:
        seeding.accounts(range(entries // 20))
        for number in range(HOT_ACCOUNTS):
            seeding.entries(f"hot-{number}", entries * 19 // 20 // HOT_ACCOUNTS)

    print(f"| auditing {entries:,} ledger entries | s | CPU s | store's CPU s | entries/s | MB at most |")
    print("|---|---|---|---|---|---|")
    with store_alone(PARTITIONS, seed) as url:
        for name, command in (
            ("`balance verify`", python("app.cli", "verify", "--json")),
            ("a full pass of an auditor", python("ops.bench.audits")),
        ):
            found = _audit(url, command)
            rate = f"{entries / found.seconds:,.0f}"
            figures = f"{found.seconds:.1f} | {found.cpu:.1f} | {found.store_cpu:.1f} | {rate}"
            print(f"| {name} | {figures} | {found.memory:.0f} |", flush=True)


def _audit(url: str, command: list[str]) -> Audited:
    began, used = time.monotonic(), _store_cpu(url)
    child = subprocess.Popen(command, env=os.environ | {"REDIS_URL": url}, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{command} ended with {child.returncode}")
    return Audited(
        seconds=time.monotonic() - began,
        cpu=usage.ru_utime + usage.ru_stime,
        store_cpu=_store_cpu(url) - used,
        memory=usage.ru_maxrss / 1024,
    )


def _store_cpu(url: str) -> float:
    with closing(ValkeyBackend(url)) as backend:
        lines = backend.call("INFO", "cpu").decode().splitlines()
    spent = dict(line.split(":") for line in lines if ":" in line)
    return float(spent["used_cpu_sys"]) + float(spent["used_cpu_user"])


def main() -> int:
    """One full pass over everything, as fast as it goes; 1 when something was found."""
    with closing(ValkeyBackend(os.environ["REDIS_URL"])) as backend:
        began = backend.read(Plan())[0]
        audits = StoreAudits(backend, Rules(PARTITIONS, 1, DAY_MS), Kept(DAY_MS, DAY_MS))
        tasks = [
            (keys.audit(each), AuditTask(work=Work.PARTITION, partition=each)) for each in range(PARTITIONS)
        ]
        for key, task in (*tasks, (keys.AUDIT, AuditTask(work=Work.STORE))):
            while int(backend.call("HGET", key, "lastFull") or 0) < began:
                audits.carry_out(task)
        return 1 if read_summary(backend, PARTITIONS).findings else 0


if __name__ == "__main__":
    sys.exit(main())
