"""A file of payouts, paid as `balance payouts submit` pays it: alone, then beside callers who wait.

The file, the command and the service are those that anybody has; the clock runs from the command's start to
its end, so checking, sending and settling are all in it.
"""

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from app.storage.backends.valkey import ValkeyBackend
from ops.bench.load import Measured, open_loop
from ops.bench.servers import Place, python, service

LINES, ACCOUNTS = 100_000, 10_000
CALLS_PER_SECOND = 100
SEGMENT_SECONDS = 3.0
_LOOK_SECONDS = 0.2
_SEED = 7


@dataclass(frozen=True, slots=True)
class Paid:
    """What one payroll took. `beside` are the calls meanwhile, by segment; the store's memory is in MiB."""

    seconds: float
    beside: list[Measured]
    most_mib: int
    left_mib: int


def print_payrolls() -> None:
    """A table in Markdown, with the load of the machine before each row."""
    print(f"\n| {LINES:,} payouts to {ACCOUNTS:,} accounts | payouts/s | beside it: p50 ms | p99 ms | load |")
    print("|---|---|---|---|---|")
    with TemporaryDirectory() as folder:
        file = Path(folder) / "payroll.jsonl"
        _write(file)
        for name, rate in (("alone", 0), (f"beside deposits at {CALLS_PER_SECOND}/s", CALLS_PER_SECOND)):
            load = os.getloadavg()[0]
            with service() as place:
                paid = _pay(place, file, rate)
            p50 = max((each.p50 for each in paid.beside), default=None)
            p99 = max((each.p99 for each in paid.beside), default=None)
            print(f"| {name} | {LINES / paid.seconds:,.0f} | {_told(p50)} | {_told(p99)} | {load:.1f} |")
            print(f"<!-- the store's memory: {paid.most_mib} MiB at most, {paid.left_mib} MiB left -->")
    print(f"\nLatencies are those of the worst {SEGMENT_SECONDS:g} s.")


def _pay(place: Place, file: Path, rate: float) -> Paid:
    command = python("app.cli", "payouts", "submit", str(file), "--json", "--target", place.grpc)
    store = ValkeyBackend(place.store)
    beside: list[Measured] = []
    most = 0
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as paying:
        while paying.poll() is None:
            if rate:
                beside.append(open_loop(place.grpc, SEGMENT_SECONDS, rate=rate, accounts=_caller))
            else:
                time.sleep(_LOOK_SECONDS)
            most = max(most, _memory(store))
        seconds = time.perf_counter() - began
        told = json.loads(paying.stdout.read() if paying.stdout else "")
    if told["applied"] != LINES:
        raise RuntimeError(f"not all was paid: {told}")
    left = _memory(store)
    store.close()
    return Paid(seconds, beside[:-1] or beside, most, left)  # the last segment goes on when all is paid


def _caller(number: int) -> str:
    return f"caller-{number % 1_000}"


def _memory(store: ValkeyBackend) -> int:
    info = store.call("INFO", "memory").decode()
    return int(info.split("used_memory:")[1].split()[0]) // 2**20


def _write(file: Path) -> None:
    rng = Random(_SEED)  # noqa: S311 - load, not a secret
    with file.open("w") as lines:
        for _ in range(LINES):
            line = {"account": f"bench-{rng.randrange(ACCOUNTS)}", "amount": rng.randint(1, 500)}
            lines.write(json.dumps(line) + "\n")


def _told(milliseconds: float | None) -> str:
    return "" if milliseconds is None else f"{milliseconds:.1f}"
