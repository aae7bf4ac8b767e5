"""The life of a process that runs Dramatiq's worker on a broker of ours: it waits, works and stops."""

import logging
import os
import signal
import sys
import time
from collections.abc import Callable

import dramatiq

from app.bootstrap import wait_for_store
from app.config import Settings, SettingsError
from app.queueing.limits import READ_BLOCK_MS
from app.services.faults import StoreUnfit
from app.telemetry.logs import configure_logs
from app.telemetry.parts import Telemetry

EXIT_REFUSED = 2
STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}
STOP_WITHIN_MS = 11_000  # what stands still ends itself in 10 s, the supervisor waits for 15 s
_log = logging.getLogger(__name__)


def run(name: str, build: Callable[[Settings, Telemetry], dramatiq.Broker], on_stop: str) -> int:
    """Work until SIGTERM or SIGINT; a second signal ends the process at once. The exit code."""
    # Blocked, and waited for: a handler might run in no thread at all while all of them wait.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        settings = Settings.from_environment(os.environ)
        configure_logs(settings.log_level, name, settings.log_accounts)
        telemetry = Telemetry.begin(settings, name)
        if not wait_for_store(settings, lambda: signal.sigpending() & STOP_SIGNALS, time.sleep):
            return 0
    except (SettingsError, StoreUnfit) as refusal:
        sys.stderr.write(f"{name}: {refusal}\n")
        return EXIT_REFUSED
    broker = build(settings, telemetry)
    worker = dramatiq.Worker(broker, worker_timeout=READ_BLOCK_MS, worker_threads=1)
    worker.start()
    signal.sigwait(STOP_SIGNALS)
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    _log.info("stopping: %s", on_stop)
    worker.stop(timeout=STOP_WITHIN_MS)
    broker.close()
    telemetry.close()
    return 0
