"""What a worker counts is what its commits have written: each command once, whatever happens on the way."""

from collections.abc import Iterator

import pytest
from prometheus_client import generate_latest

from app.domain.commands import Deposit, ExpireReservation, Reserve, Withdraw
from app.services.faults import StoreUnavailable
from app.telemetry.counting import CountingStore
from app.telemetry.metrics import Metrics
from tests.support.scene import ALICE, BOB, Owner, Scene, go_away, reservation_id, sealed
from tests.support.scraping import Page

ALICE_10 = sealed(Deposit(account_id=ALICE, amount=10))
THEFT = sealed(Withdraw(account_id=ALICE, amount=99))


@pytest.fixture
def scene() -> Iterator[Scene]:
    """Whatever was counted: what was wrapped behaves as before."""
    scene = Scene()
    yield scene
    scene.audit()


class Counted:
    """An owner whose store counts, and what it has counted."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self._metrics = Metrics("worker")
        owner.execution._store = CountingStore(owner.execution._store, self._metrics)

    @property
    def page(self) -> Page:
        return Page.of(generate_latest(self._metrics.registry).decode())

    def commits(self) -> dict[str, int]:
        """Commits by result, those there were."""
        results = ("applied", "conflict", "fenced", "refused", "unknown")
        counted = {each: int(self.page.value("balance_commits_total", result=each)) for each in results}
        return {result: times for result, times in counted.items() if times}


def test_each_command_counts_once_with_its_answer(scene: Scene) -> None:
    """Given a unit with a repeated command and a refused one, Expect three commands, one of them replayed."""
    counted = Counted(scene.owner())
    scene.send(ALICE_10, ALICE_10, THEFT)
    scene.send(sealed(Deposit(account_id=BOB, amount=1)))
    counted.owner.work()
    assert counted.page.operations() == {("Deposit", "OK"): 3, ("Withdraw", "INSUFFICIENT_BALANCE"): 1}
    assert counted.page.sum("balance_replays_total") == 1
    assert counted.page.value("balance_commit_commands_sum") == 4
    assert counted.page.value("balance_messages_total", lane="interactive") == 2
    assert counted.commits() == {"applied": 1}


def test_what_is_decided_again_counts_once(scene: Scene) -> None:
    """If another commit comes in between, Expect the conflict told and the command counted once."""
    counted = Counted(scene.owner())
    scene.send(ALICE_10)
    other = sealed(Deposit(account_id=ALICE, amount=1), "other")
    counted.owner.backend.script("commit", before=lambda: scene.meanwhile(counted.owner, other))
    counted.owner.work()
    assert counted.commits() == {"applied": 1, "conflict": 1}
    assert counted.page.operations() == {("Deposit", "OK"): 1}


def test_a_commit_that_was_fenced_counts_no_command(scene: Scene) -> None:
    """Given an owner that slept through its lease, Expect its successor, who is careful, to count them."""
    late = Counted(scene.owner())
    scene.send(ALICE_10, THEFT)
    unit = late.owner.take()
    assert unit is not None
    now = Counted(scene.next_owner())
    now.owner.work()
    late.owner.execution.run(unit)
    assert (late.commits(), late.page.operations()) == ({"fenced": 1}, {})
    assert now.page.operations() == {("Deposit", "OK"): 1, ("Withdraw", "INSUFFICIENT_BALANCE"): 1}
    assert now.commits() == {"applied": 2}
    assert now.page.value("balance_redeliveries_total") == 1


def test_a_lost_connection_counts_as_unknown(scene: Scene) -> None:
    """If nothing was written, Expect the command to count when it is carried out at last."""
    counted = Counted(scene.owner())
    scene.send(ALICE_10)
    counted.owner.backend.script("commit", before=go_away)
    with pytest.raises(StoreUnavailable):
        counted.owner.work()
    assert counted.page.operations() == {}
    counted.owner.begin_again()
    assert counted.page.operations() == {("Deposit", "OK"): 1}
    assert counted.commits() == {"applied": 1, "unknown": 1}


def test_a_hold_that_ends_by_time_counts_however_it_is_found(scene: Scene) -> None:
    """Swept by the scheduler's command, or on the way by another one: once."""
    counted = Counted(scene.owner())
    scene.send(
        ALICE_10,
        sealed(Reserve(account_id=ALICE, table_id="t", amount=4, timeout_seconds=1), "a"),
        sealed(Reserve(account_id=ALICE, table_id="t", amount=4, timeout_seconds=1), "b"),
    )
    counted.owner.work()
    scene.server.now += 2_000
    swept = sealed(ExpireReservation(reservation_id=reservation_id(ALICE, "a")))
    scene.send(swept, swept)
    counted.owner.work()
    assert counted.page.value("reservation_expiry_total") == 1
    scene.send(sealed(Withdraw(account_id=ALICE, amount=1), "on the way"))
    counted.owner.work()
    assert counted.page.value("reservation_expiry_total") == 2


def test_an_account_that_is_frozen_counts_once(scene: Scene) -> None:
    """Given a ledger whose last entry was altered, Expect one frozen account, and commands refused."""
    counted = Counted(scene.owner())
    scene.send(ALICE_10)
    counted.owner.work()
    scene.elements(ALICE)  # there is one
    ledger = next(value for key, value in scene.server.data.items() if key.startswith("balance:ledger:{000}"))
    whole = ledger[0]
    ledger[0] = whole.replace(b'"amount":10', b'"amount":99')
    scene.send(THEFT, sealed(Withdraw(account_id=ALICE, amount=1), "again"))
    counted.owner.work()
    assert counted.page.value("balance_accounts_frozen_total") == 1
    assert counted.page.operations()["Withdraw", "ACCOUNT_FROZEN"] == 2
    ledger[0] = whole
