"""The primary is whichever server sentinels name: connections find it, and leave one that is it no more."""

import asyncio
import signal
from collections.abc import Iterator
from itertools import islice

import pytest
from redis.exceptions import ReadOnlyError

from app.bootstrap import check_store
from app.domain.outcomes import Outcome
from app.services.faults import DeadlinePassed, StoreUnavailable, StoreUnfit, Unavailable
from app.services.queue import Lane
from app.storage.backends.valkey import ValkeyBackend
from app.storage.backends.valkey_async import AsyncConnection
from tests.support.carrying import ids_in
from tests.support.front_ends import front_end, ledger_keys
from tests.support.grounds import plan_of
from tests.support.replicas import FAILOVER_SECONDS, Replicated, replicated
from tests.support.waiting import LOOK_EVERY_SECONDS, soon
from tests.support.workers import a_worker, settings_for

BERT, CARL = islice(ids_in(1), 1, 3)
STREAM = (1, Lane.BULK)
TAKE_MS = 4_000


@pytest.fixture(scope="module")
def chips(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicated]:
    """A primary with one replica, whose roles these tests may change."""
    with replicated(tmp_path_factory.mktemp("primary")) as found:
        check_store(settings_for(found))
        yield found


def test_the_primary_is_found_past_a_sentinel_that_is_away(chips: Replicated) -> None:
    """The first in the URL is never there; a name that no sentinel knows is told as a store that is away."""
    assert ValkeyBackend(chips.url).call("CONFIG", "GET", "port")[1] == str(chips.primary.port).encode()
    other = chips.url.replace("/chips", "/other")
    with pytest.raises(StoreUnavailable, match=r"no sentinel knows the primary of other: .*does not know"):
        ValkeyBackend(other).call("PING")
    with pytest.raises(StoreUnavailable, match="no sentinel knows"):
        asyncio.run(AsyncConnection(other).call("PING"))


def test_a_server_that_takes_no_writes_since_it_is_a_replica_is_left(chips: Replicated) -> None:
    """
    Given connections to a server that was made a replica, which nobody closes
    If they write
    Expect that to be refused, as certainly not done where it is so, and a new connection for what comes next.
    """
    (replica,) = chips.replicas

    async def written() -> tuple[object, bool]:
        connection = AsyncConnection(replica.url)
        before = await connection.call("CLIENT", "ID")
        (refused,) = await connection.exchange([("XADD", "a stream", "*", "a", "b")])
        after = await connection.call("CLIENT", "ID")
        await connection.close()
        return refused, before == after

    refused, same = asyncio.run(written())
    assert isinstance(refused, ReadOnlyError)
    assert not same
    backend = ValkeyBackend(replica.url)
    before = backend.call("CLIENT", "ID")
    with pytest.raises(StoreUnavailable, match="ReadOnlyError"):
        backend.append([(STREAM, "a message")])
    assert backend.call("CLIENT", "ID") != before


@pytest.mark.parametrize("wait_replicas", [0, 1])
def test_the_next_primary_is_found(chips: Replicated, wait_replicas: int) -> None:
    """
    Given a front end and a worker that wait for the store
    If another server becomes the primary in good order, and the first one lives on as its replica
    Expect them to carry on there, by themselves; also who only reads, and would be let read on.
    """

    async def around_the_change() -> None:
        async with front_end(chips, wait_replicas=wait_replicas) as anna:
            assert (await anna.deposit(f"before {wait_replicas}")).outcome is Outcome.OK
            await reached(anna.log.reading, chips.primary.port)
            await asyncio.to_thread(chips.hand_over)
            await soon(lambda: anna.bus.available)
            await reached(anna.log.reading, chips.primary.port)
            assert (await anna.deposit(f"after {wait_replicas}")).outcome is Outcome.OK

    with a_worker(chips):
        asyncio.run(around_the_change())
    made = ledger_keys(ValkeyBackend(chips.primary.url))[-2:]
    assert made == [f"before {wait_replicas}", f"after {wait_replicas}"]


async def reached(connection: AsyncConnection, port: int) -> None:
    """Return when it is connected to the server at that port."""
    async with asyncio.timeout(FAILOVER_SECONDS):
        while True:
            _, found = await connection.call("CONFIG", "GET", "port")
            if int(found) == port:
                return
            await asyncio.sleep(LOOK_EVERY_SECONDS)


def test_an_answer_waits_for_the_disk_of_a_replica(chips: Replicated) -> None:
    """
    Given a replica that hangs
    If a command is carried out
    Expect no answer, and new commands to be refused, while the replica does not have it; then the answer.
    """
    (replica,) = chips.replicas

    async def around_the_pause() -> None:
        async with front_end(chips, wait_replicas=1) as bert:
            replica.signal(signal.SIGSTOP)
            try:
                waiting = bert.deposit("held", BERT)
                await soon(lambda: "held" in ledger_keys(backend, BERT))
                await soon(lambda: not bert.bus.available)
                assert not waiting.done()
                with pytest.raises(Unavailable):
                    await bert.deposit("refused", BERT)
            finally:
                replica.signal(signal.SIGCONT)
            assert (await waiting).outcome is Outcome.OK
            await soon(lambda: bert.bus.available)

    backend = ValkeyBackend(chips.url)
    with a_worker(chips):
        asyncio.run(around_the_pause())
    assert ledger_keys(backend, BERT) == ["held"]


def test_what_ops_do_waits_too(chips: Replicated) -> None:
    """
    Given somebody who commits without a front end's bus
    If no replica has the commit on disk
    Expect the outcome to be told as unknown; and as done when one has.
    """
    (replica,), plan = chips.replicas, plan_of(("SET", "a string", "text"))
    backend = ValkeyBackend(chips.url, wait_replicas=1)
    assert backend.commit(plan) == []
    replica.signal(signal.SIGSTOP)
    try:
        with pytest.raises(StoreUnavailable, match="0 of 1 replicas"):
            backend.commit(plan)
    finally:
        replica.signal(signal.SIGCONT)
    assert backend.commit(plan) == []
    backend.close()


@pytest.mark.parametrize("wait_replicas", [0, pytest.param(1, marks=pytest.mark.soak)])
def test_what_a_failover_can_lose(
    chips: Replicated, wait_replicas: int, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Given a replica that is away while a command is carried out
    If the primary dies, and that replica takes its place
    Expect the command gone. Nobody was told that it was done if answers wait for a replica. Else its caller
    was: then whoever has seen its commit refuses the new primary, until an operator decides.
    """
    lost = f"lost {wait_replicas}"
    with a_worker(chips) as worker:
        asyncio.run(_lose(chips, lost, wait_replicas))
        if wait_replicas:
            return
        with pytest.raises(StoreUnfit, match=r"older copy.*ALLOW_LOST_COMMITS"):
            worker.broker._check_store()
        allowing = settings_for(chips, allow_lost_commits=True)
        check_store(allowing, 10**6)
        assert "allowed by ALLOW_LOST_COMMITS" in caplog.text


async def _lose(chips: Replicated, lost: str, wait_replicas: int) -> None:
    (replica,), dead = chips.replicas, chips.primary
    async with front_end(chips, wait_replicas=wait_replicas) as carl:
        assert (await carl.deposit(f"kept, {lost}", CARL)).outcome is Outcome.OK
        await asyncio.to_thread(chips.until_in_sync)
        replica.kill()
        unsafe = carl.deposit(lost, CARL, timeout_ms=TAKE_MS)
        backend = ValkeyBackend(dead.url)
        await soon(lambda: lost in ledger_keys(backend, CARL))
        if not wait_replicas:
            assert (await unsafe).outcome is Outcome.OK
        dead.kill()
        if wait_replicas:
            with pytest.raises(DeadlinePassed):
                await unsafe
        replica.start(dead)
        await asyncio.to_thread(chips.until_promoted)
        assert lost not in ledger_keys(ValkeyBackend(chips.primary.url), CARL)
        dead.start(chips.primary)
        await asyncio.to_thread(chips.until_in_sync)
