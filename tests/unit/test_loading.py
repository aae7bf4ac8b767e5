"""What a unit loads: enough to decide on, and no more than its commands are worth."""

from app.domain.commands import Command, ExpireReservation, Withdraw
from app.domain.policy import Policy
from app.domain.requests import Request
from app.services.loading import load
from app.storage.backends.memory import MemoryBackend
from app.storage.store import BalanceStore
from tests.support.holds import SECONDS, accounts_for, messages
from tests.support.scene import PARTITIONS, Scene, reservation_id

HOLDS = 5
(ACCOUNT,) = accounts_for(0, HOLDS)
EXPIRE = ExpireReservation(reservation_id=reservation_id(ACCOUNT, "hold-0"))


def reservations_loaded(*commands: Command) -> int:
    """How many reservation records these commands load, of an account with five holds past their time."""
    scene = Scene()
    for _, text in messages(0, HOLDS):
        scene.send_text(0, text)
    scene.owner().work()
    scene.server.now += SECONDS * 1_000
    requests = [
        Request(command, partition=0, key="k" if command.keyed else "", command_id="", arrived_at=0)
        for command in commands
    ]
    store = BalanceStore(MemoryBackend(scene.server), PARTITIONS, 1)
    return len(load(store, requests, Policy(), 0)[0].reservations)


def test_the_expiry_of_a_hold_loads_that_hold_alone() -> None:
    """A message with the holds of a hundred accounts would else load all that these have, 64 each."""
    assert reservations_loaded(EXPIRE) == 1


def test_a_command_that_passes_over_past_holds_loads_them() -> None:
    """It writes them EXPIRED; also where the unit ends one of them by a command of its own."""
    withdraw = Withdraw(account_id=ACCOUNT, amount=1)
    assert reservations_loaded(withdraw) == HOLDS
    assert reservations_loaded(EXPIRE, withdraw) == HOLDS
