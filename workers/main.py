"""`python -m workers.main`: one worker process. Also the set-up for the stock `dramatiq` command line.

dramatiq -p 1 -t 1 workers.main:setup
"""

import os
import sys

import dramatiq

from app.bootstrap import WorkerParts, make_worker
from app.config import Settings
from app.telemetry.parts import NO_TELEMETRY, Telemetry
from workers.actors import declare_actors
from workers.process import run


def setup() -> dramatiq.Broker:
    """Make this process's broker with its actors and give it to Dramatiq."""
    settings = Settings.from_environment(os.environ)
    parts = build(settings, Telemetry.begin(settings, "worker"))
    dramatiq.set_broker(parts.broker)
    return parts.broker


def build(settings: Settings, telemetry: Telemetry = NO_TELEMETRY) -> WorkerParts:
    """The worker's parts, actors declared."""
    parts = make_worker(settings, telemetry)
    declare_actors(parts.broker, parts.execution)
    return parts


def main() -> int:
    """Work until SIGTERM or SIGINT; a second signal ends the process at once. The exit code."""
    on_stop = "the unit in hand is finished, then the partitions are handed over"
    return run("worker", lambda settings, telemetry: build(settings, telemetry).broker, on_stop)


if __name__ == "__main__":
    sys.exit(main())
