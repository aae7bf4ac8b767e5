"""`python -m ops.bench`: the service against the bare echo, in alternation, on one machine, in one run."""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

from ops.bench.cpu import CpuClock
from ops.bench.load import Measured, closed_loop, open_loop
from ops.bench.overload import print_overload

ACCOUNTS = 1_000


@dataclass(slots=True, frozen=True)
class Row:
    """One line of the table: who is called, how, and the row of the echo it is compared with."""

    name: str
    load: Callable[..., Coroutine[Any, Any, Measured]]
    floor: str = ""


ECHO_64 = "bare grpc.aio echo, 64 in flight"
ECHO_256 = "bare grpc.aio echo, 256 in flight"
ECHO_1 = "bare grpc.aio echo, 1 in flight"
SPREAD_64 = "deposits, 64 in flight, 1,000 accounts"
ROWS = (
    Row(ECHO_64, partial(closed_loop, in_flight=64, accounts=ACCOUNTS)),
    Row(SPREAD_64, partial(closed_loop, in_flight=64, accounts=ACCOUNTS), ECHO_64),
    Row("deposits, 64 in flight, one hot account", partial(closed_loop, in_flight=64, accounts=1), ECHO_64),
    Row(ECHO_256, partial(closed_loop, in_flight=256, accounts=ACCOUNTS)),
    Row("deposits, 256 in flight", partial(closed_loop, in_flight=256, accounts=ACCOUNTS), ECHO_256),
    Row(ECHO_1, partial(closed_loop, in_flight=1, accounts=ACCOUNTS)),
    Row("deposits, 1 in flight", partial(closed_loop, in_flight=1, accounts=ACCOUNTS), ECHO_1),
    Row("deposits, idle: 1 call/s", partial(open_loop, rate=1, accounts=ACCOUNTS)),
    Row("deposits, open loop at 500/s", partial(open_loop, rate=500, accounts=ACCOUNTS)),
    Row("deposits, open loop at 2,000/s", partial(open_loop, rate=2_000, accounts=ACCOUNTS)),
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
        echo, service = f"127.0.0.1:{port}", json.loads(line)["grpc"]
        asyncio.run(closed_loop(service, in_flight=64, accounts=ACCOUNTS, seconds=seconds))  # warm up
        clock = CpuClock(up.pid)
        for _ in range(rounds):
            for row in ROWS:
                with clock.counting(row.name):
                    target = service if row.name.startswith("deposits") else echo
                    found[row.name].append(asyncio.run(row.load(target, seconds=seconds)))
        commands = sum(measured.calls for measured in found[SPREAD_64])
        return found, {name: used * 1_000 / commands for name, used in clock.used[SPREAD_64].items()}


def print_table(found: dict[str, list[Measured]], cpu: dict[str, float]) -> None:
    """One table in Markdown: medians over the rounds; the ratio to the echo is taken round by round."""
    print("| | calls/s | p50 ms | p99 ms | of the echo |")
    print("|---|---|---|---|---|")
    for row in ROWS:
        runs = found[row.name]
        ratio = ""
        if row.floor:
            floors = found[row.floor]
            of_echo = median(run.rate / floor.rate for run, floor in zip(runs, floors, strict=True))
            ratio = f"{of_echo:.2f}"
        rate, p50, p99 = (median(getattr(run, name) for run in runs) for name in ("rate", "p50", "p99"))
        print(f"| {row.name} | {rate:,.0f} | {p50:.2f} | {p99:.2f} | {ratio} |")
    shares = ", ".join(f"{name} {used:.3f} ms" for name, used in sorted(cpu.items()))
    print(f"\nCPU per command at 64 in flight over 1,000 accounts: {shares}.")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ops.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    arguments = parser.parse_args()
    print_table(*measure(arguments.rounds, arguments.seconds))
    with started("app.cli", "up", "--ephemeral") as (line, up):
        print_overload(json.loads(line)["grpc"], up.pid, arguments.seconds)


if __name__ == "__main__":
    main()
