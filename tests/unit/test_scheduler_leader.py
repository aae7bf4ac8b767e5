"""The leader's state machine: follows, leads, loses the lead, gives it away; never acts on what it knew."""

import logging

import pytest

from app.queueing.limits import LEAD_MS
from app.services.faults import StoreRefused, StoreUnfit
from app.storage import keys
from app.storage.backends.memory import MemoryBackend, MemoryServer
from scheduler.leader import Leader


class Work:
    """A job that notes under which epoch it was done."""

    def __init__(self) -> None:
        self.epochs: list[int] = []
        self.accepted = True
        self.error: Exception | None = None

    def __call__(self, epoch: int) -> bool:
        self.epochs.append(epoch)
        if self.error:
            raise self.error
        return self.accepted


@pytest.fixture
def server() -> MemoryServer:
    return MemoryServer()


@pytest.fixture
def work() -> Work:
    return Work()


def leader_of(server: MemoryServer, name: str = "anna") -> Leader:
    return Leader(MemoryBackend(server), name, lambda: None)


def test_nothing_is_done_before_the_lead_is_ours(server: MemoryServer, work: Work) -> None:
    """A scheduler that has just started is nobody."""
    anna = leader_of(server)
    anna.carry_out(work)
    assert work.epochs == []
    anna.look()
    anna.carry_out(work)
    assert work.epochs == [1]


def test_one_leads_and_the_others_stand_by(server: MemoryServer, work: Work) -> None:
    """Until its lease is over, told by the server's clock; who comes back then follows."""
    anna, bert = leader_of(server, "anna"), leader_of(server, "bert")
    for moment in range(3):
        anna.look()
        bert.look()
        assert (anna.epoch, bert.epoch) == (1, 0), moment
        server.now += LEAD_MS - 1
    server.now += 1
    bert.look()
    assert bert.epoch == 2
    anna.look()
    anna.carry_out(work)
    assert work.epochs == []


def test_a_resigned_lead_is_taken_at_the_next_look(server: MemoryServer, work: Work) -> None:
    """And who resigned does nothing more."""
    anna, bert = leader_of(server, "anna"), leader_of(server, "bert")
    anna.look()
    anna.resign()
    bert.look()
    anna.carry_out(work)
    assert (anna.epoch, bert.epoch, work.epochs) == (0, 2, [])


def test_a_refused_dispatch_ends_the_lead(server: MemoryServer, work: Work) -> None:
    """Whoever else leads is not disturbed until the lead is ours again."""
    anna = leader_of(server)
    anna.look()
    work.accepted = False
    anna.carry_out(work)
    anna.carry_out(work)
    assert work.epochs == [1]


@pytest.mark.parametrize(
    "error", [StoreRefused("no"), ValueError("a fault of ours")], ids=lambda each: type(each).__name__
)
def test_a_failed_job_is_tried_again_after_another_look(
    server: MemoryServer, work: Work, error: Exception
) -> None:
    """What became of it is not known, nor whether the lead is still ours; the process lives on."""
    anna = leader_of(server)
    anna.look()
    work.error = error
    anna.carry_out(work)
    anna.carry_out(work)
    assert work.epochs == [1]
    work.error = None
    anna.look()
    anna.carry_out(work)
    assert work.epochs == [1, 1]


def test_a_store_that_is_away_is_told_once(
    server: MemoryServer, work: Work, caplog: pytest.LogCaptureFixture
) -> None:
    """Not four times a second; and once it is back the lead is taken up again."""
    anna = leader_of(server)
    anna.look()
    server.away = True
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            anna.look()
            anna.carry_out(work)
        anna.resign()
    assert [record.message for record in caplog.records] == [
        "nothing is scheduled from here: the server is away",
        "the lead could not be handed over, it will lapse: the server is away",
    ]
    server.away = False
    anna.look()
    anna.carry_out(work)
    assert work.epochs == [1]


def test_the_store_is_checked_first_and_whenever_it_was_out_of_sight(server: MemoryServer) -> None:
    """A store that is not fit for money has no leader, not even when it answers."""
    checks: list[str] = []
    unfit = [StoreUnfit("an older copy")]

    def check() -> None:
        checks.append("checked")
        if unfit:
            raise unfit.pop()

    anna = Leader(MemoryBackend(server), "anna", check)
    anna.look()
    assert (anna.epoch, server.value(keys.SCHEDULER)) == (0, None)
    for _ in range(3):
        anna.look()
    assert (anna.epoch, len(checks)) == (1, 2)
    server.away = True
    anna.look()
    server.away = False
    anna.look()
    assert (anna.epoch, len(checks)) == (1, 3)
