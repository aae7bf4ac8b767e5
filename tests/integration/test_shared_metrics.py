"""One page for many processes: slots that outlive their holders, and a port that is served by one of them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from app.telemetry.sharing import SharedCounts
from tests.support.ports import free_port
from tests.support.scraping import Page
from tests.support.waiting import eventually
from tests.support.workers import ROOT

# Counts to its argument, says so, and stays until it is told to end.
COUNTING = """
import sys
from pathlib import Path
from app.config import Settings
from app.telemetry import catalogue
from app.telemetry.parts import Telemetry

folder, times, port = sys.argv[1:]
settings = Settings(metrics_dir=Path(folder), serve_metrics=port != "0", metrics_port=int(port or 0))
telemetry = Telemetry.begin(settings, "worker")
telemetry.metrics.of(catalogue.EXPIRED).inc(int(times))
print("ready", flush=True)
sys.stdin.read()
"""


class Process:
    """A process that counts in the folder."""

    def __init__(self, folder: Path, times: int, port: str = "0") -> None:
        arguments = [sys.executable, "-c", COUNTING, str(folder), str(times), port]
        self._process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=os.environ
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.communicate()


def page(folder: Path) -> Page:
    registry = CollectorRegistry()
    registry.register(SharedCounts(folder))
    return Page.of(generate_latest(registry).decode())


def test_counts_stay_and_gauges_go_when_a_process_dies(tmp_path: Path) -> None:
    """Given two workers, and a third after one was killed, Expect all counts, two processes, no new files."""
    first, second = Process(tmp_path, 3), Process(tmp_path, 4)
    assert page(tmp_path).value("balance_processes", process="worker") == 2
    files = sorted(each.name for each in tmp_path.iterdir())
    first.kill()
    alone = page(tmp_path)
    assert alone.value("balance_processes", process="worker") == 1
    assert alone.value("reservation_expiry_total") == 7
    third = Process(tmp_path, 5)
    both = page(tmp_path)
    assert both.value("reservation_expiry_total") == 12
    assert both.value("balance_processes", process="worker") == 2
    assert sorted(each.name for each in tmp_path.iterdir()) == files
    second.kill()
    third.kill()


def test_processes_without_an_exporter_serve_one_page_between_them(tmp_path: Path) -> None:
    """If the one that has the port is killed, Expect another to serve for all, with all counts."""
    port = free_port()
    first = Process(tmp_path, 1, port)
    eventually(lambda: read(port) == 1)
    second = Process(tmp_path, 1, port)
    assert read(port) == 2
    first.kill()
    eventually(lambda: read(port) == 2, within_seconds=15)
    second.kill()


def read(port: str) -> float | None:
    """What the page at the port counts; None while nobody serves it."""
    try:
        return Page.read(f"127.0.0.1:{port}").value("reservation_expiry_total")
    except OSError:
        return None


@pytest.mark.parametrize("file", ["counter_worker-1.db", "worker-1.lock"])
def test_files_are_for_their_owner_alone(tmp_path: Path, file: str) -> None:
    """The folder is, so that nobody else of the machine reads or writes the counts."""
    folder = tmp_path / "metrics"
    process = Process(folder, 1)
    process.kill()
    assert (folder / file).exists()
    assert folder.stat().st_mode & 0o077 == 0
