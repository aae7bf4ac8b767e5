"""The worker as processes are started: by its own main, and by Dramatiq's stock command line."""

import signal
from pathlib import Path

import pytest

from app.domain.commands import Deposit
from app.queueing.envelope import encode_message, seal
from app.services.queue import Lane
from app.storage import keys
from tests.support.carrying import PARTITIONS, id_in
from tests.support.grounds import read
from tests.support.store import RealStore
from tests.support.waiting import eventually
from tests.support.workers import all_owned, crew, owners, waiting

STOCK = ("dramatiq", "-p", "1", "-t", "1", "workers.main:setup")
OURS = ("workers.main",)


def queue_deposit(store: RealStore, partition: int, key: str) -> None:
    """Queue a deposit of 1 chip to the first account of the partition."""
    command = Deposit(account_id=id_in(partition), amount=1)
    envelope = seal(command, key=key, command_id=key, remaining_ms=0)
    store.backend().append([((partition, Lane.INTERACTIVE), encode_message([envelope], key))])


def balances(store: RealStore) -> list[int]:
    """The balances of these accounts."""
    asked = (("HGET", keys.account(each, id_in(each)), "balance") for each in range(PARTITIONS))
    return [int(balance or 0) for balance in read(store.backend(), *asked)]


@pytest.mark.parametrize("command", [STOCK, OURS], ids=["stock", "ours"])
def test_a_worker_process_carries_out_commands_and_stops_cleanly(
    real_store: RealStore, tmp_path: Path, command: tuple[str, ...]
) -> None:
    """
    Given commands queued before and after it starts
    If it is told to stop
    Expect all of them carried out, exit code 0, and every partition handed over.
    """
    for partition in range(PARTITIONS):
        queue_deposit(real_store, partition, "before")
    backend = real_store.backend()
    with crew(real_store, tmp_path) as workers:
        worker = workers.hire(*command)
        eventually(lambda: balances(real_store) == [1] * PARTITIONS, within_seconds=15)
        for partition in range(PARTITIONS):
            queue_deposit(real_store, partition, "after")
        eventually(lambda: balances(real_store) == [2] * PARTITIONS)
        assert worker.stop() == 0, worker.log
    assert [waiting(backend, each) for each in range(PARTITIONS)] == [0] * PARTITIONS
    asked = [("HMGET", keys.partition(each), "owner", "clean") for each in range(PARTITIONS)]
    assert read(backend, *asked) == [[b"", b"1"]] * PARTITIONS
    assert read(backend, ("ZRANGE", keys.WORKERS, 0, -1)) == [[]]


@pytest.mark.parametrize(
    ("signals", "codes"),
    [
        ([signal.SIGTERM], {0}),
        ([signal.SIGINT], {0}),
        ([signal.SIGTERM, signal.SIGINT], {-signal.SIGTERM, -signal.SIGINT}),
    ],
    ids=["once", "once by keyboard", "twice"],
)
def test_a_signal_is_heeded_whatever_the_process_was_doing(
    real_store: RealStore, tmp_path: Path, signals: list[signal.Signals], codes: set[int]
) -> None:
    """
    Given a worker that was frozen in the middle of a unit, and told to stop meanwhile
    If it is thawed
    Expect the unit finished and the partitions handed over; told twice, an end at once.
    """
    with crew(real_store, tmp_path) as workers:
        worker = workers.hire("tests.support.odd_worker", "--freeze", id_in(1))
        all_owned(real_store.backend())
        queue_deposit(real_store, 1, "k")
        worker.wait_until_frozen()
        for each in signals:
            worker.signal(each)
        worker.signal(signal.SIGCONT)
        assert worker.wait() in codes, worker.log
    if codes == {0}:
        assert balances(real_store)[1] == 1
        assert owners(real_store.backend()) == [""] * PARTITIONS


def test_a_store_that_must_not_be_worked_with_ends_the_process(real_store: RealStore, tmp_path: Path) -> None:
    """Its supervisor sees a refusal, with the reason on standard error, instead of a crash loop."""
    with crew(real_store, tmp_path) as workers:
        worker = workers.hire(PARTITIONS="5")
        assert worker.wait() == 2
        assert "PARTITIONS is 5, but the store was made with 4" in worker.log
    assert owners(real_store.backend()) == [""] * PARTITIONS


def test_a_store_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    """Processes are started together, and the store may be the last one."""
    store = RealStore(tmp_path / "late")
    try:
        with crew(store, tmp_path) as workers:
            worker = workers.hire()
            eventually(lambda: "waiting for the store" in worker.log, within_seconds=15)
            store.start()
            all_owned(store.backend())
            assert worker.stop() == 0
    finally:
        store.stop()
