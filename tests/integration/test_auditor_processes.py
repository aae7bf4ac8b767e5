"""Schedulers and auditors as real processes: what is new within one interval, all else within one pass."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.services.faults import StoreUnavailable
from app.storage import keys
from app.storage.audits.queue import GROUP, StreamsAuditQueue
from app.storage.audits.summary import read_summary
from app.storage.backend import Reply
from app.storage.backends.valkey import ValkeyBackend
from tests.support.audits import CORRUPTIONS, Auditing, Planted, Victim, changed_total, frozen, write_half
from tests.support.books import PARTITIONS, Books
from tests.support.scene import named
from tests.support.store import RealStore
from tests.support.waiting import eventually
from tests.support.workers import Crew, WorkerProcess, crew

INTERVAL_MS = 500
PASS_MS = 1_000
HOUR_MS = 3_600_000
OTHERS = [named(f"{corrupt.__name__}-", index % 3) for index, corrupt in enumerate(CORRUPTIONS)]
"""An account for each corruption; that of the total is alone in its partition, where no ledger is broken."""
VICTIMS = {
    corrupt: named("total-", 3) if corrupt is changed_total else other
    for corrupt, other in zip(CORRUPTIONS, OTHERS, strict=True)
}
BYSTANDERS = [named("bystander-", partition) for partition in range(PARTITIONS)]


@pytest.fixture
def backend(real_store: RealStore) -> ValkeyBackend:
    """A connection of the test's own."""
    return real_store.backend()


@pytest.fixture
def processes(real_store: RealStore, tmp_path: Path) -> Iterator[Crew]:
    """Schedulers and auditors on the session's store."""
    with crew(real_store, tmp_path) as found:
        yield found


def schedule(processes: Crew, interval_ms: int = INTERVAL_MS) -> WorkerProcess:
    """A scheduler; holds expire so seldom that it queues nothing else."""
    environ = {"LEDGER_VERIFICATION_INTERVAL_MS": str(interval_ms)}
    return processes.hire("scheduler.main", RESERVATION_EXPIRY_INTERVAL_MS=str(HOUR_MS), **environ)


def audit(processes: Crew, pass_ms: int = HOUR_MS) -> WorkerProcess:
    """An auditor."""
    return processes.hire("workers.auditor", FULL_VERIFICATION_PERIOD_MS=str(pass_ms))


def wait_for_checks(backend: ValkeyBackend) -> None:
    """Return when everything that is there now was checked for what is new."""
    now = read_summary(backend, PARTITIONS).now
    eventually(lambda: read_summary(backend, PARTITIONS).checked > now, within_seconds=30)


def wait_for_passes(backend: ValkeyBackend) -> None:
    """Return when passes over everything have begun after now, and are over."""
    now = read_summary(backend, PARTITIONS).now
    eventually(lambda: read_summary(backend, PARTITIONS).last_full > now, within_seconds=60)


def queued(backend: ValkeyBackend) -> list[str]:
    """The entries of the tasks that wait or are in hand."""
    return [entry_id.decode() for entry_id, _ in backend.call("XRANGE", keys.AUDIT_QUEUE, "-", "+")]


def plant_all(backend: ValkeyBackend) -> list[Planted]:
    """All ten corruptions at once, each at an account of its own."""
    return [corrupt(Victim(backend.call, account_id)) for corrupt, account_id in VICTIMS.items()]


def assert_found(backend: ValkeyBackend, planted: list[Planted]) -> None:
    """Each is named exactly and nothing else is; only the accounts concerned are frozen."""
    assert Auditing(backend).open() == sorted((each.what, each.where, each.seq) for each in planted)
    concerned = {each.account_id for each in planted} - {None}
    assert frozen(backend.call, [*VICTIMS.values(), *BYSTANDERS]) == concerned


@pytest.mark.parametrize("is_new", [True, False], ids=["new", "old"])
def test_ten_corruptions_are_found_in_their_time(
    real_store: RealStore, backend: ValkeyBackend, processes: Crew, is_new: bool
) -> None:
    """
    Given ten corruptions in what was written since the last check, and full passes that take an hour
    Expect all of them found by the next check.
    Given them in what was checked before, and full passes of a second
    Expect all of them found when a pass that began later is over.
    """
    books = Books(real_store.backend())
    write_half(books, [*VICTIMS.values(), *BYSTANDERS])
    schedule(processes)
    auditor = audit(processes, HOUR_MS if is_new else PASS_MS)
    wait_for_checks(backend)
    if is_new:
        auditor.signal(signal.SIGSTOP)  # so that whatever is written now is written between two checks
        auditor.wait_until_frozen()
    write_half(books, [*VICTIMS.values(), *BYSTANDERS])
    if not is_new:
        wait_for_passes(backend)
    planted = plant_all(backend)
    if is_new:
        auditor.signal(signal.SIGCONT)
        wait_for_checks(backend)
    else:
        wait_for_passes(backend)
    assert_found(backend, planted)


def test_auditors_that_were_away_catch_up(
    real_store: RealStore, backend: ValkeyBackend, processes: Crew
) -> None:
    """
    Given schedulers that go on for many slots while no auditor runs
    Expect no heap of tasks, and all that was written meanwhile checked by the first auditor that comes.
    """
    books = Books(real_store.backend())
    schedule(processes, interval_ms=100)
    tasks = PARTITIONS + 2
    eventually(lambda: backend.call("XLEN", keys.AUDIT_QUEUE) == tasks, within_seconds=30)
    first = int(backend.call("HGET", keys.SCHEDULER, keys.slot_field("audit")))
    for _ in range(3):
        write_half(books, BYSTANDERS)
    eventually(
        lambda: int(backend.call("HGET", keys.SCHEDULER, keys.slot_field("audit"))) > first + 1_000,
        within_seconds=30,
    )
    assert backend.call("XLEN", keys.AUDIT_QUEUE) == tasks
    audit(processes, PASS_MS)
    wait_for_passes(backend)
    assert read_summary(backend, PARTITIONS).entries >= 9 * len(BYSTANDERS)
    assert Auditing(backend).kept() == []


def test_what_a_dead_auditor_has_left_is_done_by_another(
    real_store: RealStore, backend: ValkeyBackend, processes: Crew
) -> None:
    """
    Given tasks that an auditor took and did not finish
    Expect each to be taken again when nobody was heard of for a while, and left out when that goes on.
    """
    schedule(processes, interval_ms=HOUR_MS)
    tasks = PARTITIONS + 2
    eventually(lambda: backend.call("XLEN", keys.AUDIT_QUEUE) == tasks, within_seconds=30)
    dead = StreamsAuditQueue(real_store.backend())
    assert dead.take(0) is None  # it makes the group
    taken = [dead.take(0) for _ in range(tasks)]
    assert all(taken)
    assert dead.take(1) is None
    heir = StreamsAuditQueue(real_store.backend(), lost_ms=0)
    again = heir.take(1)
    assert again == taken[0]
    for _ in range(3):
        heir.take(1)
    assert backend.call("XLEN", keys.AUDIT_QUEUE) == tasks - 1


class Dying(ValkeyBackend):
    """The line of an auditor that dies after so many more calls, as soon as there is a number."""

    calls_left: int | None = None

    def call(self, *command: Any) -> Reply:
        if self.calls_left is not None:
            if not self.calls_left:
                raise StoreUnavailable("the auditor is dead")
            self.calls_left -= 1
        return super().call(*command)


def test_an_auditor_that_dies_while_it_ends_a_task_keeps_none_from_being_queued_again(
    real_store: RealStore, backend: ValkeyBackend, processes: Crew
) -> None:
    """
    Given an auditor that dies between the two calls by which a task leaves the queue
    Expect the scheduler to queue the same task again, and nothing of the old one when others look for work.
    """
    schedule(processes, interval_ms=100)
    tasks = PARTITIONS + 2
    eventually(lambda: backend.call("XLEN", keys.AUDIT_QUEUE) == tasks, within_seconds=30)
    line = Dying(real_store.url)
    dying = StreamsAuditQueue(line)
    assert dying.take(0) is None  # it makes the group
    task = eventually(lambda: dying.take(0))
    line.calls_left = 1
    with pytest.raises(StoreUnavailable):
        dying.done(task.entry_id)
    line.close()
    eventually(lambda: task.entry_id not in (ids := queued(backend)) and len(ids) == tasks)
    heir = StreamsAuditQueue(real_store.backend(), lost_ms=0)
    assert heir.take(1) is not None
    assert backend.call("XPENDING", keys.AUDIT_QUEUE, GROUP)[0] == 1


def test_an_auditor_that_is_killed_is_made_up_for(
    real_store: RealStore, backend: ValkeyBackend, processes: Crew
) -> None:
    """Two share the tasks; one is killed, and the other goes on with what is new."""
    books = Books(real_store.backend())
    schedule(processes, interval_ms=200)
    victim, _ = audit(processes), audit(processes)
    wait_for_checks(backend)
    victim.kill()
    write_half(books, BYSTANDERS)
    wait_for_checks(backend)
    assert Auditing(backend).kept() == []
    assert read_summary(backend, PARTITIONS).entries >= 3 * len(BYSTANDERS)


def test_an_auditor_that_stops_leaves_nothing_in_hand(
    real_store: RealStore, backend: ValkeyBackend, processes: Crew
) -> None:
    """It finishes the task it is at, and another may take at once what it had not begun."""
    schedule(processes, interval_ms=100)
    auditor = audit(processes)
    wait_for_checks(backend)
    assert auditor.stop() == 0
    heir = StreamsAuditQueue(real_store.backend())
    pending = backend.call("XPENDING", keys.AUDIT_QUEUE, "auditors")[0]
    assert [heir.take(1) is not None for _ in range(pending)] == [True] * pending
    assert "Traceback" not in auditor.log
