"""What wakes the jobs: on time, once after a gap, and also when the machine's clock is wrong."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from apscheduler.schedulers.background import BackgroundScheduler
from freezegun import freeze_time

from scheduler.main import catch_up_with_the_clock, every, make_clockwork

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def clockwork() -> Iterator[BackgroundScheduler]:
    """At rest: the tests look at what it would do."""
    found = make_clockwork()
    with freeze_time(NOON):
        found.start(paused=True)
        found.add_job(lambda: None, every(2.5), id="job")
    yield found
    found.shutdown()


def next_run(clockwork: BackgroundScheduler) -> datetime:
    found: datetime = clockwork.get_job("job").next_run_time
    return found


def test_a_job_is_woken_at_its_interval(clockwork: BackgroundScheduler) -> None:
    trigger = clockwork.get_job("job").trigger
    with freeze_time(NOON):
        assert next_run(clockwork) == NOON + timedelta(seconds=2.5)
    assert trigger.get_next_fire_time(NOON, NOON) == NOON + timedelta(seconds=2.5)


def test_after_a_gap_a_job_is_woken_once(clockwork: BackgroundScheduler) -> None:
    """However long it was, and however late; and never beside itself."""
    job = clockwork.get_job("job")
    assert (job.coalesce, job.max_instances, job.misfire_grace_time) == (True, 1, None)


@pytest.mark.parametrize("set_back", [timedelta(minutes=1), timedelta(hours=1), timedelta(days=400)])
def test_a_clock_set_back_does_not_put_the_jobs_to_sleep(
    clockwork: BackgroundScheduler, set_back: timedelta
) -> None:
    """
    Given a job that is due in 2.5 s
    If the clock is set back
    Expect it due at once, not when that time comes again.
    """
    with freeze_time(NOON - set_back):
        catch_up_with_the_clock(clockwork)
        assert next_run(clockwork) == NOON - set_back


def test_a_clock_that_is_right_changes_nothing(clockwork: BackgroundScheduler) -> None:
    """The jobs keep their times."""
    for seconds in (0, 2, 3, 3_600):
        with freeze_time(NOON + timedelta(seconds=seconds)):
            catch_up_with_the_clock(clockwork)
            assert next_run(clockwork) == NOON + timedelta(seconds=2.5)
