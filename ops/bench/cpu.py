"""CPU seconds of the service's processes, by what they are. Read from /proc: on Linux only, else empty."""

import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

KINDS = {
    "workers.main": "worker",
    "app.cli grpc": "front end",
    "valkey-server": "store",
    "redis-server": "store",
}


class CpuClock:
    """Adds up, under a name, the CPU that the children of `parent` use while a block runs."""

    def __init__(self, parent: int) -> None:
        self.used: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self._parent = parent

    @contextmanager
    def counting(self, name: str) -> Iterator[None]:
        before = self._now()
        yield
        for kind, seconds in self._now().items():
            self.used[name][kind] += seconds - before.get(kind, 0.0)

    def _now(self) -> dict[str, float]:
        seconds: dict[str, float] = defaultdict(float)
        for process in Path("/proc").glob("[0-9]*"):
            try:
                fields = (process / "stat").read_text().rpartition(")")[2].split()
                arguments = (process / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue
            kind = next((kind for text, kind in KINDS.items() if text in arguments), None)
            if kind and int(fields[1]) == self._parent:
                seconds[kind] += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return seconds
