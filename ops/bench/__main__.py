"""`python -m ops.bench`: the service against the bare echo, in alternation, on one machine, in one run."""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

from ops.bench.cpu import CpuClock
from ops.bench.load import Measured, closed_loop

ACCOUNTS = 1_000


@dataclass(slots=True, frozen=True)
class Row:
    """One line of the table: who is called, and how."""

    name: str
    service: bool
    in_flight: int
    accounts: int


ROWS = (
    Row("bare grpc.aio echo, 64 in flight", False, 64, ACCOUNTS),
    Row("deposits, 64 in flight, 1,000 accounts", True, 64, ACCOUNTS),
    Row("deposits, 64 in flight, one hot account", True, 64, 1),
    Row("bare grpc.aio echo, 1 in flight", False, 1, ACCOUNTS),
    Row("deposits, 1 in flight, 1,000 accounts", True, 1, ACCOUNTS),
)


@contextmanager
def started(*arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A child process and the first line it prints."""
    environ = os.environ | {"LOG_LEVEL": "warning"}
    child = subprocess.Popen(
        [sys.executable, "-m", *arguments], stdout=subprocess.PIPE, text=True, env=environ
    )
    try:
        yield (child.stdout.readline().strip() if child.stdout else ""), child
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(timeout=30)


def measure(rounds: int, seconds: float) -> tuple[dict[str, list[Measured]], dict[str, float]]:
    """Every row, `rounds` times, one after the other; and the CPU each kind of process used per command."""
    found: dict[str, list[Measured]] = defaultdict(list)
    with started("ops.bench.echo") as (port, _), started("app.cli", "up", "--ephemeral") as (line, up):
        targets = {False: f"127.0.0.1:{port}", True: json.loads(line)["grpc"]}
        for in_flight in (64, 1):  # fill the accounts, warm everything up
            asyncio.run(
                closed_loop(targets[True], in_flight=in_flight, accounts=ACCOUNTS, seconds=seconds / 2)
            )
        clock = CpuClock(up.pid)
        for _ in range(rounds):
            for row in ROWS:
                with clock.counting(row.name):
                    measured = asyncio.run(
                        closed_loop(
                            targets[row.service],
                            in_flight=row.in_flight,
                            accounts=row.accounts,
                            seconds=seconds,
                        )
                    )
                found[row.name].append(measured)
        spread = ROWS[1].name
        commands = sum(measured.calls for measured in found[spread])
        return found, {name: used * 1_000 / commands for name, used in clock.used[spread].items()}


def print_table(found: dict[str, list[Measured]], cpu: dict[str, float]) -> None:
    """One table in Markdown; the ratio is to the echo with as many calls in flight, round by round."""
    print("| | calls/s | p50 ms | p99 ms | of the echo |")
    print("|---|---|---|---|---|")
    echo: list[Measured] = []
    for row in ROWS:
        runs = found[row.name]
        echo = echo if row.service else runs
        ratio = median(mine.rate / floor.rate for mine, floor in zip(runs, echo, strict=True))
        rate, p50, p99 = (median(getattr(run, name) for run in runs) for name in ("rate", "p50", "p99"))
        print(f"| {row.name} | {rate:,.0f} | {p50:.2f} | {p99:.2f} | {ratio:.2f} |")
    shares = ", ".join(f"{name} {used:.3f} ms" for name, used in cpu.items())
    print(f"\nCPU per command at 64 in flight over 1,000 accounts: {shares}.")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ops.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    arguments = parser.parse_args()
    print_table(*measure(arguments.rounds, arguments.seconds))


if __name__ == "__main__":
    main()
