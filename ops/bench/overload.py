"""Ten times the load that fits: what is answered, how soon the rest is refused, and what memory it takes."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from ops.bench.cpu import KINDS

RATES = (500, 1_000, 1_500, 2_000, 3_000)
TIMES = 10
_NAMES = {
    "0": "OK",
    "1": "CANCELLED",
    "4": "DEADLINE_EXCEEDED",
    "8": "RESOURCE_EXHAUSTED",
    "14": "UNAVAILABLE",
}
_REFUSED = ("CANCELLED", "RESOURCE_EXHAUSTED", "UNAVAILABLE")


@dataclass(frozen=True, slots=True)
class Flooded:
    """What came of a flood: offered and answered OK per second, and latencies (ms) by status, in order."""

    rate: float
    goodput: float
    latencies: Mapping[str, list[float]]

    @property
    def refusals(self) -> list[float]:
        return sorted(each for status in _REFUSED for each in self.latencies.get(status, []))


def flood(target: str, rate: float, seconds: float) -> Flooded:
    """Deposits at that rate, from a process of their own."""
    command = [sys.executable, "-m", "ops.bench.flood", target, str(rate), str(seconds)]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["latencies"]
    latencies = {
        _NAMES.get(status, status): [each * 1_000 for each in sorted(times)]
        for status, times in found.items()
    }
    return Flooded(rate, len(latencies.get("OK", [])) / seconds, latencies)


def print_overload(target: str, parent: int, seconds: float) -> None:
    """A table in Markdown: the highest goodput at any rate, then ten times that rate."""
    peak = max((flood(target, rate, seconds) for rate in RATES), key=lambda flooded: flooded.goodput)
    before = _memory(parent)
    over = flood(target, peak.goodput * TIMES, seconds)
    after = _memory(parent)
    print("\n| overload | offered/s | OK/s | p50 ms | p99 ms | refused p50, p99, max ms |")
    print("|---|---|---|---|---|---|")
    for name, flooded in (("peak", peak), (f"{TIMES} times that", over)):
        times, refused = flooded.latencies.get("OK", []), flooded.refusals
        print(
            f"| {name} | {flooded.rate:,.0f} | {flooded.goodput:,.0f} "
            f"| {_at(times, 0.5)} | {_at(times, 0.99)} "
            f"| {_at(refused, 0.5)}, {_at(refused, 0.99)}, {_at(refused, 1)} |"
        )
    ends = ", ".join(f"{len(times):,} {status}" for status, times in sorted(over.latencies.items()))
    print(f"\nUnder {TIMES} times the peak {over.goodput / peak.goodput:.2f} of it; calls ended {ends}.")
    memory = ", ".join(f"{kind} {before.get(kind, 0)} and {after[kind]}" for kind in sorted(after))
    print(f"Memory before and after, MiB: {memory}.")


def _memory(parent: int) -> dict[str, int]:
    """What the service's processes occupy, in MiB, by kind."""
    command = ["ps", "-A", "-ww", "-o", "ppid=,rss=,command="]
    found: dict[str, int] = {}
    for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines():
        parent_id, kib, text = line.split(None, 2)
        kind = next((kind for words, kind in KINDS.items() if words in text), None)
        if kind and int(parent_id) == parent:
            found[kind] = found.get(kind, 0) + int(kib) // 1024
    return found


def _at(ordered: list[float], share: float) -> str:
    return f"{ordered[min(int(len(ordered) * share), len(ordered) - 1)]:.0f}" if ordered else "-"
