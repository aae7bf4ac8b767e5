"""Runs parts: starts the servers that their rows call, and measures the rows in alternation."""

import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from ops.bench.counters import Counters, per_call, read_counters
from ops.bench.cpu import STORE, WORKER, cpu_seconds
from ops.bench.load import Measured
from ops.bench.scenarios import Part, Row
from ops.bench.servers import Place, Server

WARM_UP_SECONDS = 1.0


@dataclass(slots=True, frozen=True)
class Run:
    """One run of a row: by the client, CPU in ms a call by process, and the store's counters a call."""

    client: Measured
    cpu: dict[str, float]
    counters: Counters

    @property
    def cost(self) -> float:
        """CPU of store and worker in ms a call: what a command costs, however busy the machine is."""
        return self.cpu.get(STORE, 0.0) + self.cpu.get(WORKER, 0.0)


Found = dict[Row, list[Run]]
"""The runs of every row, in the order of their rounds."""


def measure(parts: Sequence[Part], rounds: int, seconds: float) -> Iterator[Found]:
    """Part after part. A server that one part alone calls runs only while that part is measured."""
    began = time.monotonic()
    users = Counter(server for part in parts for server in _servers(part))
    with ExitStack() as whole_run:
        shared: dict[Server, Place] = {}
        for part in parts:
            print(f"{time.monotonic() - began:4.0f} s: {part.name}", file=sys.stderr, flush=True)
            with ExitStack() as this_part:
                own: dict[Server, Place] = {}
                for server in _servers(part):
                    if users[server] == 1:
                        own[server] = this_part.enter_context(server())
                    elif server not in shared:
                        shared[server] = whole_run.enter_context(server())
                yield _measure_part(part, shared | own, part.rounds or rounds, part.seconds or seconds)


def _servers(part: Part) -> list[Server]:
    return list(dict.fromkeys(row.server for row in part.rows))


def _measure_part(part: Part, places: dict[Server, Place], rounds: int, seconds: float) -> Found:
    found: Found = defaultdict(list)
    for row in part.rows:
        row.load(places[row.server], WARM_UP_SECONDS)
    for _ in range(rounds):
        for row in part.rows:
            found[row].append(_run(row, places[row.server], seconds))
    return found


def _run(row: Row, place: Place, seconds: float) -> Run:
    counted = read_counters(place.store) if place.is_service else {}
    used = cpu_seconds(place.parent)
    measured = row.load(place, seconds)
    cpu = {
        kind: (spent - used.get(kind, 0.0)) * 1_000 / measured.calls
        for kind, spent in cpu_seconds(place.parent).items()
    }
    added = per_call(counted, read_counters(place.store), measured.calls) if place.is_service else {}
    return Run(measured, cpu, added)
