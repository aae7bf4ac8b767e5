"""What who submits is told when the store goes away: that nothing was done, only where that is certain."""

import asyncio
from collections.abc import Callable

import pytest

from app.domain.commands import Payout
from app.queueing.envelope import tracked_message
from app.services import asynchronous
from app.services.asynchronous import Submissions
from app.services.faults import DeadlinePassed, StoreUnavailable, Unavailable
from app.storage.backends.memory import MemoryBackend, MemoryServer
from app.storage.commands import StoreCommands
from app.storage.plan import Plan
from tests.support.alongside import Alongside

PARTITIONS = 4
PAYOUT = Payout(account_id="anna", amount=7)


class LosesReply(Alongside):
    """A connection whose first commit is applied, and answered to nobody."""

    def __init__(self, server: MemoryServer, then: Callable[[], None]) -> None:
        super().__init__(MemoryBackend(server))
        self._then: Callable[[], None] | None = then

    async def commit(self, plan: Plan) -> list[int]:
        failed = await super().commit(plan)
        if (then := self._then) is not None:
            self._then = None
            then()
            raise StoreUnavailable("the connection broke")
        return failed


class NoReplica(Alongside):
    """A connection whose server has lost its replicas."""

    async def confirm(self) -> None:
        raise Unavailable("no replica follows")


@pytest.fixture
def server() -> MemoryServer:
    return MemoryServer()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asynchronous, "DEFAULT_TIMEOUT_MS", 60)
    monkeypatch.setattr(asynchronous, "_PAUSE_SECONDS", 0.01)


def submissions(connection: Alongside) -> Submissions:
    states = StoreCommands(connection)
    return Submissions(states, tracked_message, partitions=PARTITIONS, admit=lambda: None)


def submit(connection: Alongside) -> asynchronous.Submitted:
    return asyncio.run(submissions(connection).submit(PAYOUT, "k"))


def test_a_store_that_is_away_has_nothing_queued(server: MemoryServer) -> None:
    server.away = True
    with pytest.raises(Unavailable):
        submit(Alongside(MemoryBackend(server)))


def test_a_store_that_goes_away_behind_the_write_leaves_it_in_doubt(server: MemoryServer) -> None:
    """
    Given a store that dies when it has queued the command
    Expect no word of nothing being done: the payout is made when the store comes back.
    """
    with pytest.raises(DeadlinePassed):
        submit(LosesReply(server, lambda: setattr(server, "away", True)))
    server.away = False
    assert submit(Alongside(MemoryBackend(server))).before is not None


def test_a_write_whose_reply_was_lost_is_found(server: MemoryServer) -> None:
    """It is not queued twice."""
    taken = submit(LosesReply(server, lambda: None))
    assert taken.before is not None
    assert sum(len(value.order) for key, value in server.data.items() if ":queue:" in key) == 1


def test_what_was_queued_before_is_not_nothing(server: MemoryServer) -> None:
    """Where it cannot be told whether it lasts, the outcome is unknown."""
    submit(Alongside(MemoryBackend(server)))
    with pytest.raises(DeadlinePassed):
        submit(NoReplica(MemoryBackend(server)))
