"""Prints what was found: one table of all rows, what a command takes, and how far the aims are reached."""

from statistics import median

from ops.bench import counters
from ops.bench.aims import AIMS, cost_ratio, p50, rate_ratio
from ops.bench.cpu import FRONT_END, STORE, WORKER
from ops.bench.measuring import Found, Run
from ops.bench.scenarios import COMMIT_1, ECHO_1, ECHO_64, SINGLE, SPREAD_64, Row

_PROCESSES = (FRONT_END, WORKER, STORE)
_COUNTED = (
    ("messages appended", counters.MESSAGES, ".2f"),
    ("calls of the read function", counters.READ_CALLS, ".2f"),
    ("calls of functions that write: commits, leases", counters.COMMIT_CALLS, ".2f"),
    ("reads of streams", counters.QUEUE_READS, ".2f"),
    ("round trips: reads from the store's sockets", counters.SOCKET_READS, ".2f"),
    ("bytes added to the append-only file", counters.LOG_BYTES, ",.0f"),
    ("bytes to the store", counters.NETWORK_IN, ",.0f"),
    ("bytes from the store", counters.NETWORK_OUT, ",.0f"),
)


def print_report(found: Found) -> None:
    """Everything, as Markdown."""
    _print_rows(found)
    if {SINGLE, SPREAD_64} <= found.keys():
        _print_counters(found)
    _print_remarks(found)
    _print_aims(found)


def _print_rows(found: Found) -> None:
    print("| | calls/s | p50 ms | p99 ms | ratio | CPU ms a call: client | front end | worker | store |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row, runs in found.items():
        rate, low, high, client = (
            median(getattr(run.client, name) for run in runs) for name in ("rate", "p50", "p99", "client_cpu")
        )
        processes = " | ".join(_cpu(runs, kind) for kind in _PROCESSES)
        ratios = "; ".join(_compared(found, row, base) for base in row.against)
        failed = sum(run.client.failed for run in runs)
        name = f"{row.name} ({failed:,} calls failed)" if failed else row.name
        timed = f"{rate:,.0f} | {low:.2f} | {high:.2f}"
        print(f"| {name} | {timed} | {ratios} | {client:.3f} | {processes} |")


def _cpu(runs: list[Run], kind: str) -> str:
    used = [run.cpu[kind] for run in runs if kind in run.cpu]
    return f"{median(used):.3f}" if used else ""


def _compared(found: Found, row: Row, base: Row) -> str:
    """Calls a second for one of the base's, and the cost of a call where both are the service."""
    ratio = f"{rate_ratio(found, row, base):.2f} of {base.short}"
    both = all(run.counters for run in found[row] + found[base])
    return f"{ratio}, CPU {cost_ratio(found, row, base):.2f}" if both else ratio


def _print_counters(found: Found) -> None:
    print("\n| a deposit, by the store's own counters | 1 in flight | 64 in flight, 1,000 accounts |")
    print("|---|---|---|")
    for name, counter, form in _COUNTED:
        one, many = (median(run.counters[counter] for run in found[row]) for row in (SINGLE, SPREAD_64))
        print(f"| {name} | {one:{form}} | {many:{form}} |")


def _print_remarks(found: Found) -> None:
    if {SINGLE, ECHO_1, COMMIT_1} <= found.keys():
        ours, bare, commit = (p50(found, row) for row in (SINGLE, ECHO_1, COMMIT_1))
        print(
            f"\nThe floor for 1 in flight is {bare + commit:.2f} ms: the echo ({bare:.2f}) and one commit"
            f" ({commit:.2f}). The service takes {ours:.2f} ms, {ours / (bare + commit):.2f} times that,"
            f" {ours - bare - commit:.2f} ms above it."
        )
    for row in (ECHO_64, SPREAD_64):
        if row in found:
            busy = median(run.client.rate * run.client.client_cpu / 1_000 for run in found[row])
            print(f"\nThe client keeps {busy:.2f} of a core busy in: {row.name}.")


def _print_aims(found: Found) -> None:
    print("\n| aim | wanted | reached | |")
    print("|---|---|---|---|")
    for aim in AIMS:
        print(aim.told(found))
