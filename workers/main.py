"""`python -m workers.main`: one worker process. Also the set-up for the stock `dramatiq` command line.

dramatiq -p 1 -t 1 workers.main:setup
"""

import logging
import os
import signal
import sys
import time

import dramatiq

from app.bootstrap import WorkerParts, make_worker, wait_for_store
from app.config import Settings, SettingsError
from app.queueing.limits import READ_BLOCK_MS
from app.services.faults import StoreUnfit
from app.telemetry.logs import configure_logs
from app.telemetry.parts import NO_TELEMETRY, Telemetry
from workers.actors import declare_actors

EXIT_REFUSED = 2
STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}
STOP_WITHIN_MS = 11_000  # a unit may take 10 s, the supervisor waits for 15 s
_log = logging.getLogger(__name__)


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
    # Blocked, and waited for: a handler might run in no thread at all while all of them wait.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        settings = Settings.from_environment(os.environ)
        configure_logs(settings.log_level, "worker", settings.log_accounts)
        telemetry = Telemetry.begin(settings, "worker")
        if not wait_for_store(settings, lambda: signal.sigpending() & STOP_SIGNALS, time.sleep):
            return 0
    except (SettingsError, StoreUnfit) as refusal:
        sys.stderr.write(f"worker: {refusal}\n")
        return EXIT_REFUSED
    parts = build(settings, telemetry)
    worker = dramatiq.Worker(parts.broker, worker_timeout=READ_BLOCK_MS, worker_threads=1)
    worker.start()
    signal.sigwait(STOP_SIGNALS)
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    _log.info("stopping: the unit in hand is finished, then the partitions are handed over")
    worker.stop(timeout=STOP_WITHIN_MS)
    parts.broker.close()
    telemetry.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
