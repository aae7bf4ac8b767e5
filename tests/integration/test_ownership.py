"""Partitions and their owners: shared evenly, handed over at once, taken from the dead, guarded by epochs.

The workers are real processes: they are stopped, killed and frozen as they would be.
"""

import signal
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import msgspec
import pytest

from app.domain.commands import Deposit
from app.queueing.envelope import encode_message, seal
from app.queueing.limits import LEASE_MS, RENEW_SECONDS
from app.queueing.ownership import STUCK_EXIT_CODE
from app.services.queue import Lane
from app.storage import keys
from app.storage.backends.valkey import ValkeyBackend
from tests.support.carrying import PARTITIONS, id_in, ids_in
from tests.support.grounds import read
from tests.support.store import RealStore
from tests.support.waiting import eventually
from tests.support.workers import Crew, all_owned, crew, owners, shares, waiting

ODD = "tests.support.odd_worker"
TAKEOVER_SECONDS = 5.0
"""What is promised (HAZARDS 2): a dead owner is replaced within that."""
AT_ONCE_SECONDS = LEASE_MS / 1_000 - RENEW_SECONDS
"""Less than is left of any lease: nobody has waited for one to lapse."""


@pytest.fixture
def workers(real_store: RealStore, tmp_path: Path) -> Iterator[Crew]:
    """Workers on the session's store."""
    with crew(real_store, tmp_path) as found:
        yield found


@pytest.fixture
def backend(real_store: RealStore) -> ValkeyBackend:
    """A connection of the test's own."""
    return real_store.backend()


def queue_deposits(backend: ValkeyBackend, account_id: str, partition: int, keys_: list[str]) -> None:
    """Queue one message for each key, with a deposit of 1 chip; each partition has a front end of its own."""
    stream = (partition, Lane.INTERACTIVE)
    backend.append([(stream, deposits(account_id, partition, [key])) for key in keys_])


def deposits(account_id: str, partition: int, keys_: list[str]) -> str:
    """One message with a deposit of 1 chip for each key."""
    command, reply_to = Deposit(account_id=account_id, amount=1), f"test-{partition}"
    envelopes = [seal(command, key=key, command_id=key, remaining_ms=0, reply_to=reply_to) for key in keys_]
    return encode_message(envelopes, keys_[0])


def applied(backend: ValkeyBackend, account_id: str, partition: int) -> list[str]:
    """The keys of the deposits in the account's ledger, in their order."""
    (elements,) = read(backend, ("LRANGE", keys.ledger(partition, account_id, 0), 0, -1))
    return [msgspec.json.decode(element.partition(b" ")[2])["idempotencyKey"] for element in elements]


def answers(backend: ValkeyBackend) -> list[str]:
    """The ids of the messages answered so far."""
    names = [keys.results(f"test-{partition}") for partition in range(PARTITIONS)]
    found = [entry for name in names for entry in backend.call("XRANGE", name, "-", "+")]
    return [message_id for _, (_, text) in found for message_id, _ in msgspec.json.decode(text)]


def numbered(count: int) -> list[str]:
    return [f"k{number}" for number in range(count)]


def test_partitions_are_shared_evenly_among_those_alive(workers: Crew, backend: ValkeyBackend) -> None:
    """
    Given one worker that has everything
    If a second and a third one come
    Expect even shares; and if one stops, the others to have its partitions at once.
    """
    workers.hire()
    all_owned(backend, by=1)
    workers.hire()
    all_owned(backend, by=2)
    assert shares(backend) == [2, 2]
    workers.hire()
    all_owned(backend, by=3)
    assert shares(backend) == [1, 1, 2]
    assert workers.hired[1].stop() == 0
    began = time.monotonic()
    all_owned(backend, by=2)
    assert time.monotonic() - began < AT_ONCE_SECONDS + RENEW_SECONDS, "shares are reckoned with each renewal"


def test_a_stopped_workers_partitions_are_taken_at_once_and_cleanly(
    workers: Crew, backend: ValkeyBackend
) -> None:
    """
    Given two workers with work in their queues
    If one is told to stop
    Expect its partitions with the other one long before a lease could lapse, and every command once.
    """
    first, second = workers.hire(), workers.hire()
    all_owned(backend, by=2)
    for partition in range(PARTITIONS):
        queue_deposits(backend, id_in(partition), partition, numbered(100))
    assert first.stop() == 0
    began = time.monotonic()
    eventually(lambda: "" not in owners(backend) and len(set(owners(backend))) == 1)
    assert time.monotonic() - began < AT_ONCE_SECONDS
    eventually(lambda: len(answers(backend)) == 100 * PARTITIONS)
    for partition in range(PARTITIONS):
        assert applied(backend, id_in(partition), partition) == numbered(100)
    assert " 0 of them after an unclean end" in second.log
    assert "1 of them after an unclean end" not in second.log


def test_a_killed_workers_partitions_are_taken_and_the_order_is_kept(
    workers: Crew, backend: ValkeyBackend
) -> None:
    """
    Given a worker in the middle of a long queue, and one that waits
    If the first is killed
    Expect its partitions with the other one in time, and every command of the queue applied once, in order.
    """
    doomed, heir = workers.hire(), workers.hire()
    all_owned(backend, by=2)
    count = 500
    for partition in range(PARTITIONS):
        queue_deposits(backend, id_in(partition), partition, numbered(count))
    eventually(lambda: len(answers(backend)) > 20)
    doomed.kill()
    began = time.monotonic()
    left = [waiting(backend, partition) for partition in range(PARTITIONS)]
    assert max(left) > 0, "it was killed too late to prove anything"
    eventually(lambda: "" not in owners(backend) and len(set(owners(backend))) == 1)
    assert time.monotonic() - began < TAKEOVER_SECONDS
    eventually(
        lambda: not any(waiting(backend, partition) for partition in range(PARTITIONS)), within_seconds=20
    )
    for partition in range(PARTITIONS):
        assert applied(backend, id_in(partition), partition) == numbered(count)
    assert sorted(set(answers(backend))) == sorted(numbered(count))
    assert len(answers(backend)) == count * PARTITIONS
    assert "2 of them after an unclean end" in heir.log


def test_a_frozen_workers_late_commit_is_refused_by_the_epoch(workers: Crew, backend: ValkeyBackend) -> None:
    """
    Given a worker that froze after it had decided, until somebody else owns the partition
    If it thaws
    Expect that its commit changes nothing there, though every record is still as it was loaded, that it goes
    on with what is its own, and takes the command up again when the partition is free.
    """
    account_id = id_in(1)
    worker = workers.hire(ODD, "--freeze", account_id)
    all_owned(backend)
    queue_deposits(backend, account_id, 1, ["k"])
    queue_deposits(backend, id_in(2), 2, ["k"])
    worker.wait_until_frozen()
    (lease,) = eventually(lambda: backend.acquire("somebody", [1], 60_000, 1)[1], TAKEOVER_SECONDS)
    worker.signal(signal.SIGCONT)
    eventually(
        lambda: applied(backend, id_in(2), 2)
    )  # it has one unit in hand at a time: the late commit is over
    assert applied(backend, account_id, 1) == []
    assert waiting(backend, 1) == 1
    backend.release("somebody", {1: lease.epoch}, leave=True)
    eventually(lambda: applied(backend, account_id, 1))
    assert applied(backend, account_id, 1) == ["k"]
    assert waiting(backend, 1) == 0


def test_a_thawed_worker_does_not_apply_what_its_heir_has_applied(
    workers: Crew, backend: ValkeyBackend
) -> None:
    """
    Given a worker that froze after it had decided, and an heir that has carried out the same commands
    If it thaws and gets its share of the partitions again
    Expect each command applied once, and answered once.
    """
    account_id = id_in(1)
    frozen = workers.hire(ODD, "--freeze", account_id)
    all_owned(backend)
    queue_deposits(backend, account_id, 1, ["k1", "k2"])
    frozen.wait_until_frozen()
    workers.hire()
    eventually(lambda: len(applied(backend, account_id, 1)) == 2, within_seconds=15)
    frozen.signal(signal.SIGCONT)
    all_owned(backend, by=2)
    for partition in range(PARTITIONS):
        queue_deposits(backend, id_in(partition), partition, ["k3"])
    eventually(lambda: all(applied(backend, id_in(each), each)[-1:] == ["k3"] for each in range(PARTITIONS)))
    assert applied(backend, account_id, 1) == ["k1", "k2", "k3"]
    assert sorted(answers(backend)) == ["k1", "k2", *["k3"] * PARTITIONS]
    assert frozen.running


def test_a_command_that_kills_its_process_is_parked_unrun_at_the_third_time(
    workers: Crew, backend: ValkeyBackend
) -> None:
    """
    Given a command that ends whatever process runs it, with others before and behind it
    Expect three dead workers, then a dead letter that says why, and everything else carried out.
    """
    good, poison, behind = islice(ids_in(1), 3)
    for account_id, partition in ((good, 1), (poison, 1), (behind, 1), (id_in(2), 2)):
        queue_deposits(backend, account_id, partition, [f"to {account_id}"])
    for _ in range(3):
        assert workers.hire(ODD, poison).wait() == 9
    last = workers.hire(ODD, poison)
    eventually(lambda: not waiting(backend, 1) and not waiting(backend, 2), within_seconds=15)
    assert last.running
    for account_id, partition in ((good, 1), (behind, 1), (id_in(2), 2)):
        assert applied(backend, account_id, partition) == [f"to {account_id}"]
    assert applied(backend, poison, 1) == []
    (letters,) = read(backend, ("HGETALL", keys.dead_letters(1)))
    (letter,) = map(msgspec.json.decode, letters[1::2])
    assert (letter["accountId"], letter["amount"], letter["key"]) == (poison, 1, f"to {poison}")
    assert "its worker died 2 times" in letter["error"]
    assert len(answers(backend)) == 4


def test_a_unit_is_stuck_when_it_stands_still_and_not_while_it_gets_on(
    workers: Crew, backend: ValkeyBackend
) -> None:
    """
    Given ten slow commands, each of which runs alone after an unclean takeover
    Expect them carried out in one unit, which takes longer than one may stand still.
    Given ten of them that are decided in one go
    Expect the process to end itself, and nothing of them.
    """
    account_id, stream = id_in(1), (1, Lane.INTERACTIVE)
    backend.acquire("dead", [1], 1, 1)
    backend.append([(stream, deposits(account_id, 1, numbered(10)))])
    worker = workers.hire(ODD, "--slow", account_id)
    eventually(lambda: not (waiting(backend, 1) and worker.running), within_seconds=20)
    assert applied(backend, account_id, 1) == numbered(10)
    assert worker.running
    backend.append([(stream, deposits(account_id, 1, [f"{key} again" for key in numbered(10)]))])
    assert worker.wait() == STUCK_EXIT_CODE
    assert applied(backend, account_id, 1) == numbered(10)
