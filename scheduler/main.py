"""`python -m scheduler.main`: one scheduler process. Any number may run; one leads, the others stand by."""

import logging
import os
import secrets
import signal
import sys
import threading
from datetime import UTC, datetime

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from app.bootstrap import SchedulerParts, make_scheduler, wait_for_store
from app.config import Settings, SettingsError
from app.queueing.limits import LEAD_SECONDS, SCHEDULE_SECONDS
from app.services.faults import StoreUnfit
from app.telemetry.logs import configure_logs
from app.telemetry.parts import Telemetry
from scheduler.audits import AuditJob
from scheduler.jobs import ReservationExpiry
from scheduler.leader import Leader

EXIT_REFUSED = 2
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
CLOCK_SECONDS = 1.0
_log = logging.getLogger(__name__)


def main() -> int:
    """Schedule until SIGTERM or SIGINT; a second signal ends the process at once. The exit code."""
    stop = threading.Event()

    def on_signal(_number: int, _frame: object) -> None:
        stop.set()
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_DFL)

    for number in STOP_SIGNALS:
        signal.signal(number, on_signal)
    try:
        settings = Settings.from_environment(os.environ)
        configure_logs(settings.log_level, "scheduler", settings.log_accounts)
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        telemetry = Telemetry.begin(settings, "scheduler")
        wait_for_store(settings, stop.is_set, stop.wait)
    except (SettingsError, StoreUnfit) as refusal:
        sys.stderr.write(f"scheduler: {refusal}\n")
        return EXIT_REFUSED
    if not stop.is_set():
        run(make_scheduler(settings, telemetry), settings, stop)
    return 0


def run(parts: SchedulerParts, settings: Settings, stop: threading.Event) -> None:
    """Look for the lead, and do the jobs while it is ours, until told to stop; then hand the lead over."""
    leader = Leader(parts.schedule, secrets.token_hex(8), parts.check_store)
    expiry = ReservationExpiry(
        parts.schedule,
        partitions=settings.partitions,
        interval_ms=settings.reservation_expiry_interval_ms,
    )
    audits = AuditJob(
        parts.schedule,
        partitions=settings.partitions,
        interval_ms=settings.ledger_verification_interval_ms,
    )
    clockwork = make_clockwork()
    clockwork.add_job(leader.look, every(LEAD_SECONDS))
    clockwork.add_job(leader.carry_out, every(SCHEDULE_SECONDS), [expiry])
    clockwork.add_job(leader.carry_out, every(SCHEDULE_SECONDS), [audits])
    clockwork.start()
    while not stop.wait(CLOCK_SECONDS):
        catch_up_with_the_clock(clockwork)
    _log.info("stopping: the lead is handed over")
    clockwork.shutdown()
    leader.resign()
    parts.close()


def make_clockwork() -> BackgroundScheduler:
    """What wakes the jobs, in one thread. When they are due is told by the store's clock, never by ours."""
    return BackgroundScheduler(
        executors={"default": ThreadPoolExecutor(max_workers=1)},
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        timezone=UTC,
    )


def every(seconds: float) -> IntervalTrigger:
    """Wake at this interval."""
    return IntervalTrigger(seconds=seconds, timezone=UTC)


def catch_up_with_the_clock(clockwork: BackgroundScheduler) -> None:
    """Wake the jobs though this machine's clock was set back: else they sleep until it is there again."""
    now = datetime.now(UTC)
    for job in clockwork.get_jobs():
        if job.next_run_time - now > job.trigger.interval:
            job.modify(next_run_time=now)


if __name__ == "__main__":
    sys.exit(main())
