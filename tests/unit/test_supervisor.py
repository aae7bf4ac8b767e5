"""The supervisor, with real processes: restarts, order of stopping, and that nothing outlives it.

Every child holds the write end of one pipe and announces itself there, so a test reads events instead
of waiting for times, and the end of the file proves that all children are gone.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import TextIO

import pytest

GRACE_SECONDS = 1

# Runs the stages given as JSON: [[[name, behaviour], ...], ...].
SUPERVISOR = """
import asyncio, json, logging, os, sys
from app.cli.supervisor import Child, Supervisor

CHILD = '''
import os, signal, sys
name, behaviour, fd = sys.argv[1], sys.argv[2], int(sys.argv[3])
def say(what):
    os.write(fd, f"{name} {what} {os.getpid()}\\\\n".encode())
def stop(*_):
    say("stops")
    if behaviour != "stubborn":
        os._exit(0)
signal.signal(signal.SIGTERM, stop)
say("runs")
if behaviour == "refuses":
    os._exit(2)
while True:
    signal.pause()
'''

async def main():
    fd = int(sys.argv[2])
    async with Supervisor(grace_seconds=float(sys.argv[3])) as supervisor:
        for stage in json.loads(sys.argv[1]):
            await supervisor.start(*(
                Child(name=name, argv=[sys.executable, "-c", CHILD, name, behaviour, str(fd)],
                      env=dict(os.environ), pass_fds=[fd])
                for name, behaviour in stage))
        await supervisor.run()
    return supervisor.exit_code

logging.basicConfig(format="%(message)s")
sys.exit(asyncio.run(main()))
"""


class Scene:
    """A running supervisor, and what its children say."""

    def __init__(self, *stages: list[tuple[str, str]], grace_seconds: float = GRACE_SECONDS) -> None:
        read_end, write_end = os.pipe()
        self.said: TextIO = os.fdopen(read_end)
        self.process = subprocess.Popen(
            [sys.executable, "-c", SUPERVISOR, json.dumps(stages), str(write_end), str(grace_seconds)],
            pass_fds=[write_end],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(write_end)

    def next(self) -> tuple[str, str, int]:
        """Return the next event: who, "runs" or "stops", process id."""
        name, what, pid = self.said.readline().split()
        return name, what, int(pid)

    def last_words(self) -> list[str]:
        """Wait until all children are gone; return what they said meanwhile, without process ids."""
        return [line.rpartition(" ")[0] for line in self.said.read().splitlines()]

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.said.read()
        self.said.close()


@pytest.fixture
def scenes() -> Iterator[list[Scene]]:
    """Close whatever a test put here."""
    opened: list[Scene] = []
    yield opened
    for scene in opened:
        scene.close()


def test_a_child_that_dies_is_started_again(scenes: list[Scene]) -> None:
    """Killed by whatever, it comes back under another process id, and the log says so by name."""
    scenes.append(scene := Scene([("worker", "obeys")]))
    _, _, first = scene.next()
    os.kill(first, signal.SIGKILL)
    name, what, second = scene.next()
    assert (name, what) == ("worker", "runs")
    assert second != first
    scene.process.terminate()
    _, log = scene.process.communicate()
    assert "worker ended (exit code -9): again in 0.1 s" in log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stages_stop_in_reverse_order(scenes: list[Scene], number: signal.Signals) -> None:
    """What was started last is asked to stop first, and only when it is gone comes the one before."""
    scenes.append(scene := Scene([("store", "obeys")], [("worker", "obeys")], [("front", "obeys")]))
    started = [scene.next()[0] for _ in range(3)]
    assert sorted(started) == ["front", "store", "worker"]
    scene.process.send_signal(number)
    assert scene.last_words() == ["front stops", "worker stops", "store stops"]
    assert scene.process.wait() == 0


def test_a_child_that_will_not_stop_is_killed(scenes: list[Scene]) -> None:
    """After the grace the next stage gets its turn all the same."""
    scenes.append(scene := Scene([("store", "obeys")], [("front", "stubborn")], grace_seconds=0.2))
    assert {scene.next()[0], scene.next()[0]} == {"store", "front"}
    scene.process.terminate()
    assert scene.last_words() == ["front stops", "store stops"]
    assert scene.process.wait() == 0


def test_a_second_signal_kills_at_once(scenes: list[Scene]) -> None:
    """Who asks twice does not want to wait for the grace."""
    scenes.append(scene := Scene([("front", "stubborn")], grace_seconds=3600))
    scene.next()
    scene.process.terminate()
    assert scene.next()[1] == "stops"
    scene.process.terminate()
    assert scene.last_words() == []
    assert scene.process.wait() == 0


def test_a_child_that_refuses_stops_everything(scenes: list[Scene]) -> None:
    """Exit code 2 is a refusal of the configuration: nothing is restarted and the code is passed on."""
    scenes.append(scene := Scene([("store", "obeys")], [("worker", "refuses")]))
    assert scene.last_words().count("worker runs") == 1
    _, log = scene.process.communicate()
    assert scene.process.returncode == 2
    assert "worker refuses to run as configured" in log


def test_no_child_outlives_a_killed_supervisor(scenes: list[Scene]) -> None:
    """Neither first ones, nor restarted ones, nor those that ignore the request to stop."""
    scenes.append(scene := Scene([("store", "obeys")], [("worker", "obeys"), ("front", "stubborn")]))
    pids = {name: pid for name, _, pid in (scene.next() for _ in range(3))}
    os.kill(pids["worker"], signal.SIGKILL)
    assert scene.next()[:2] == ("worker", "runs")
    scene.process.kill()
    assert sorted(scene.last_words()) == ["front stops", "store stops", "worker stops"]


def test_standard_output_stays_clean(scenes: list[Scene]) -> None:
    """Children print to the supervisor's standard error, so that its own output can be parsed."""
    scenes.append(scene := Scene([("worker", "obeys")]))
    scene.next()
    scene.process.terminate()
    assert scene.process.communicate()[0] == ""


def test_a_lost_watcher_ends_everything(scenes: list[Scene]) -> None:
    """Without the watcher children could be left behind, so the supervisor stops in good order."""
    scenes.append(scene := Scene([("worker", "obeys")]))
    os.kill(os.getpgid(scene.next()[2]), signal.SIGKILL)
    assert scene.last_words() == ["worker stops"]
    assert scene.process.wait() == 1
