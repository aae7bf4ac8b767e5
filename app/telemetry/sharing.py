"""How the processes of one machine share their metrics: prometheus_client's files, in a folder, by slots.

prometheus_client names a process's files by its number, so that each process that ever ran leaves files
behind, and two containers on one volume write into each other's. Here a process takes the first free slot of
its kind, `worker-1`, and holds it by a lock that ends with it: its successor goes on counting in the same
files. Folder and page stay as small as the service, whatever crashes, and no counter ever goes back.
"""

import fcntl
import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from prometheus_client import CollectorRegistry, values
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

_LIVE = "gauge_live*_{}.db"


def share(folder: Path, process: str) -> None:
    """Have this process count in the folder from here on; before its first metric, once in its life."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    slot = _take_slot(folder, process)
    for gauges in folder.glob(_LIVE.format(slot)):  # what the slot's last holder was has ended with it
        gauges.unlink(missing_ok=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)  # where prometheus_client looks for it
    values.ValueClass = values.MultiProcessValue(lambda: slot)  # type: ignore[no-untyped-call]


class SharedCounts(Collector):
    """Everything counted in the folder, by all processes; gauges of those alive only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = MultiProcessCollector(CollectorRegistry(), str(folder))  # type: ignore[no-untyped-call]

    def collect(self) -> Iterator[Metric]:
        for lock in self._folder.glob("*.lock"):
            self._bury(lock)
        yield from self._files.collect()  # type: ignore[no-untyped-call]

    def _bury(self, lock: Path) -> None:
        """Take away the gauges of a slot that nobody holds; while we look, its next holder takes another."""
        with lock.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            for gauges in self._folder.glob(_LIVE.format(lock.stem)):
                gauges.unlink(missing_ok=True)


def _take_slot(folder: Path, process: str) -> str:
    for number in count(1):
        slot = f"{process}-{number}"
        held = os.open(folder / f"{slot}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(held)
        else:
            return slot  # `held` stays open: the lock ends with the process
    raise AssertionError
