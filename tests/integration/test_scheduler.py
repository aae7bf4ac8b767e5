"""Schedulers as real processes: one leads, a dead or paused one is replaced, no slot comes twice."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from app.queueing.limits import LEAD_MS
from app.services.queue import Lane
from app.storage import keys
from app.storage.backends.valkey import ValkeyBackend
from app.storage.plan import Plan
from tests.support.carrying import PARTITIONS
from tests.support.grounds import read
from tests.support.holds import messages
from tests.support.store import RealStore
from tests.support.tap import tapping
from tests.support.waiting import eventually
from tests.support.workers import Crew, WorkerProcess, crew, waiting

REPLACED_WITHIN_MS = 5_000
"""What is promised: the next leader is there so soon after the last sign of life of a dead one."""
LONG_MS = 3_000
"""An interval that is longer than any change of leaders: whatever comes between two slots is over by then."""
SHORT_MS = 100
"""An interval in which a test sees many slots."""


class Lead(NamedTuple):
    """Who leads, under which epoch, since when and until when (ms, by the store)."""

    name: str
    epoch: int
    since: int
    until: int


@pytest.fixture
def backend(real_store: RealStore) -> ValkeyBackend:
    """A connection of the test's own."""
    return real_store.backend()


@pytest.fixture
def processes(real_store: RealStore, tmp_path: Path) -> Iterator[Crew]:
    """Schedulers and workers on the session's store."""
    with crew(real_store, tmp_path) as found:
        yield found


def schedule(processes: Crew, interval_ms: int = LONG_MS) -> WorkerProcess:
    """One more scheduler."""
    return processes.hire("scheduler.main", RESERVATION_EXPIRY_INTERVAL_MS=str(interval_ms))


def lead(backend: ValkeyBackend) -> Lead:
    """The lead as the store has it; no name where nobody has it."""
    (found,) = read(backend, ("HMGET", keys.SCHEDULER, "leader", "epoch", "since", "until"))
    name, *numbers = found
    return Lead((name or b"").decode(), *(int(number or 0) for number in numbers))


def led_by(backend: ValkeyBackend, epoch: int) -> Lead:
    """Wait until somebody leads under that epoch."""

    def look() -> Lead | None:
        found = lead(backend)
        return found if found.name and found.epoch == epoch else None

    return eventually(look, within_seconds=30)


def last_slot(backend: ValkeyBackend) -> int:
    """The slot that was done last."""
    (found,) = read(backend, ("HGET", keys.SCHEDULER, keys.slot_field("expire")))
    return int(found or 0)


def wait_for_slots(backend: ValkeyBackend, count: int) -> None:
    """Return when so many more slots are done."""
    seen = {last_slot(backend)}

    def look() -> bool:
        seen.add(last_slot(backend))
        return len(seen) > count

    eventually(look, within_seconds=30)


def make_holds(backend: ValkeyBackend, processes: Crew, holds: int) -> WorkerProcess:
    """A worker, which has made so many holds in each partition, all of them past their time."""
    worker = processes.hire()
    for partition in range(PARTITIONS):
        backend.append(list(messages(partition, holds)))
    eventually(lambda: due(backend) == holds * PARTITIONS, within_seconds=60)
    return worker


def due(backend: ValkeyBackend) -> int:
    """How many holds are past their time, by the store's clock, and still held."""
    now, _ = backend.read(Plan())
    indexes = map(keys.reservation_expiry, range(PARTITIONS))
    return sum(backend.call("ZCOUNT", index, "-inf", now) for index in indexes)


def expired(backend: ValkeyBackend) -> int:
    """How many were counted as expired."""
    asked = (("HGET", keys.totals(each), "expired") for each in range(PARTITIONS))
    return sum(int(count or 0) for count in read(backend, *asked))


def missed(backend: ValkeyBackend) -> int:
    """How many slots were made up for by a later one."""
    (found,) = read(backend, ("HGET", keys.SCHEDULER, keys.missed_field("expire")))
    return int(found or 0)


def test_one_leads_and_a_killed_leader_is_replaced(
    processes: Crew, backend: ValkeyBackend, real_store: RealStore
) -> None:
    """
    Given two schedulers
    If the one that leads is killed
    Expect the other one to lead in time, and each slot done once, or made up for by the next and counted.
    """
    with tapping(real_store.url) as tap:
        first = schedule(processes)
        former = led_by(backend, epoch=1)
        schedule(processes)
        wait_for_slots(backend, 2)
        first.kill()
        last_sign_of_life = lead(backend).until - LEAD_MS
        present = led_by(backend, epoch=2)
        wait_for_slots(backend, 2)
    assert present.name != former.name
    assert present.since - last_sign_of_life < REPLACED_WITHIN_MS
    slots = tap.slots
    assert slots == sorted(set(slots))
    assert len(slots) + missed(backend) == (slots[-1] - slots[0]) // LONG_MS + 1


def test_a_leader_that_is_told_to_stop_hands_over(processes: Crew, backend: ValkeyBackend) -> None:
    """Exit code 0, and the lead is free at once: nobody has to wait for a lease to lapse."""
    first = schedule(processes)
    led_by(backend, epoch=1)
    assert first.stop() == 0, first.log
    assert lead(backend)[:2] == ("", 1)
    assert lead(backend).until == 0
    schedule(processes)
    led_by(backend, epoch=2)


def test_a_leader_that_was_paused_does_no_harm_when_it_wakes_up(
    processes: Crew, backend: ValkeyBackend, real_store: RealStore
) -> None:
    """
    Given a leader that is frozen, with holds due, until another one leads
    If it thaws
    Expect it to stand by: the other one goes on, no slot comes twice, each hold is expired once.
    """
    holds = 150
    with tapping(real_store.url) as tap:
        frozen = schedule(processes, SHORT_MS)
        led_by(backend, epoch=1)
        frozen.signal(signal.SIGSTOP)
        frozen.wait_until_frozen()
        make_holds(backend, processes, holds)
        heir = schedule(processes, SHORT_MS)
        led_by(backend, epoch=2)
        frozen.signal(signal.SIGCONT)
        wait_for_slots(backend, 10)
        eventually(lambda: not due(backend), within_seconds=60)
    assert lead(backend).epoch == 2
    assert frozen.running
    assert heir.running
    assert tap.slots == sorted(set(tap.slots))
    assert expired(backend) == holds * PARTITIONS


def test_two_schedulers_and_a_kill_expire_each_hold_once(processes: Crew, backend: ValkeyBackend) -> None:
    """
    Given more due than one message of each partition takes, and two schedulers
    If the one that leads is killed while it works that off
    Expect all of it expired, and counted once.
    """
    holds = 350
    make_holds(backend, processes, holds)
    first = schedule(processes, SHORT_MS)
    eventually(lambda: expired(backend), within_seconds=30)
    schedule(processes, SHORT_MS)
    first.kill()
    eventually(lambda: not due(backend), within_seconds=60)
    assert expired(backend) == holds * PARTITIONS
    assert lead(backend).epoch == 2


def test_while_workers_are_away_the_queues_stay_short(processes: Crew, backend: ValkeyBackend) -> None:
    """
    Given holds that are due, and no worker
    If slot after slot comes
    Expect one message a partition; and when a worker is back, every hold expired.
    """
    holds = 120
    make_holds(backend, processes, holds).stop()
    schedule(processes, SHORT_MS)
    wait_for_slots(backend, 20)
    assert [waiting(backend, each, Lane.BULK) for each in range(PARTITIONS)] == [1] * PARTITIONS
    assert expired(backend) == 0
    processes.hire()
    eventually(lambda: not due(backend), within_seconds=60)
    assert expired(backend) == holds * PARTITIONS
    eventually(lambda: not any(waiting(backend, each, Lane.BULK) for each in range(PARTITIONS)))


def test_holds_are_gone_soon_after_their_time(processes: Crew, backend: ValkeyBackend) -> None:
    """
    Given a scheduler and a worker at work
    If holds become due as they go
    Expect 99 of 100 expired within 5 s and one interval of their time, as the records tell.
    """
    processes.hire()
    schedule(processes, SHORT_MS)
    holds = 100
    for partition in range(PARTITIONS):
        backend.append(list(messages(partition, holds)))
    eventually(lambda: expired(backend) == holds * PARTITIONS, within_seconds=60)
    late = sorted(
        record["releasedAt"] - record["expiresAt"]
        for partition in range(PARTITIONS)
        for names in backend.scan(keys.reservation(partition, ""))
        for record in map(msgspec.json.decode, read(backend, *(("GET", name) for name in names)))
    )
    assert len(late) == holds * PARTITIONS
    assert late[0] >= 0
    assert late[len(late) * 99 // 100] < 5_000 + SHORT_MS


def test_a_store_that_was_killed_has_a_leader_again(tmp_path: Path) -> None:
    """The scheduler stays, says that nothing is scheduled, and goes on by itself."""
    store = RealStore(tmp_path / "own").start()
    store.empty()
    try:
        with crew(store, tmp_path) as processes:
            scheduler = schedule(processes, SHORT_MS)
            wait_for_slots(store.backend(), 2)
            store.kill()
            eventually(lambda: "nothing is scheduled from here" in scheduler.log, within_seconds=15)
            store.start()
            wait_for_slots(store.backend(), 2)
            assert scheduler.stop() == 0, scheduler.log
    finally:
        store.stop()


def test_a_store_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    """Processes are started together, and the store may be the last one; a stop is heeded meanwhile."""
    store = RealStore(tmp_path / "late")
    try:
        with crew(store, tmp_path) as processes:
            early, stopped = schedule(processes), schedule(processes)
            eventually(lambda: "waiting for the store" in early.log, within_seconds=30)
            eventually(lambda: "waiting for the store" in stopped.log, within_seconds=30)
            assert stopped.stop() == 0
            store.start()
            eventually(lambda: "this scheduler leads" in early.log, within_seconds=30)
    finally:
        store.stop()


def test_a_store_that_must_not_be_worked_with_ends_the_process(
    processes: Crew, backend: ValkeyBackend
) -> None:
    """Its supervisor sees a refusal, with the reason, instead of a crash loop."""
    scheduler = processes.hire("scheduler.main", PARTITIONS="5")
    assert scheduler.wait(60) == 2
    assert "scheduler: PARTITIONS is 5, but the store was made with 4" in scheduler.log
    assert lead(backend).name == ""
