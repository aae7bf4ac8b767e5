"""CPU seconds of the benchmarks' processes, by what they are. Read from /proc: on Linux only, else empty."""

import os
from collections import defaultdict
from pathlib import Path

FRONT_END = "front end"
WORKER = "worker"
STORE = "store"

KINDS = {
    "app.cli grpc": FRONT_END,
    "ops.bench.echo": FRONT_END,
    "workers.main": WORKER,
    "ops.bench.stock": WORKER,
    "valkey-server": STORE,
    "redis-server": STORE,
}


def cpu_seconds(parent: int) -> dict[str, float]:
    """What the children of a process have used until now."""
    seconds: dict[str, float] = defaultdict(float)
    for process in Path("/proc").glob("[0-9]*"):
        try:
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            arguments = (process / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
        kind = next((kind for text, kind in KINDS.items() if text in arguments), None)
        if kind and int(fields[1]) == parent:
            seconds[kind] += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return seconds
