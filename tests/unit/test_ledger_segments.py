"""Ledgers longer than one segment: built on, checked, and replayed from, on both sides of each boundary."""

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from app.domain.commands import Command, Deposit, EnsureAccount
from app.domain.outcomes import Answer
from app.queueing.limits import LEASE_MS
from app.storage import keys
from tests.support.scene import ALICE, Owner, Scene, sealed

MESSAGE = 128


@pytest.fixture
def scene() -> Iterator[Scene]:
    """However long they are: at the end the records agree with each other, to the chip."""
    scene = Scene()
    yield scene
    scene.audit()


def deposit(version: int) -> tuple[Command, str]:
    """The deposit, and its key, that makes this version of the account."""
    return Deposit(account_id=ALICE, amount=version), f"k{version}"


def deposits(scene: Scene, owner: Owner, first: int, last: int) -> list[Answer]:
    """Have the deposits of these versions carried out, in messages of full size; their answers."""
    versions = range(first, last + 1)
    messages = [
        scene.send(*(sealed(*deposit(version)) for version in versions[start : start + MESSAGE]))
        for start in range(0, len(versions), MESSAGE)
    ]
    owner.work()
    return [answer for message in messages for answer in scene.answers(message)]


def segments(scene: Scene) -> list[int]:
    """How many entries stand in each segment."""
    found = (scene.server.value(keys.ledger(0, ALICE, number)) for number in range(4))
    return [len(segment) for segment in found if segment]


@pytest.mark.parametrize("initial", [0, 500], ids=["without initial balance", "with initial balance"])
def test_a_ledger_goes_on_across_two_boundaries(scene: Scene, initial: int) -> None:
    """An entry's place follows from its seq alone, whether or not there is an entry 0."""
    # Given
    owner = scene.owner()
    if initial:
        scene.send(sealed(EnsureAccount(account_id=ALICE, initial_balance=initial)))
    # If
    answers = deposits(scene, owner, 1, 2_050)
    # Expect
    entry_0 = int(bool(initial))
    assert segments(scene) == [1_023 + entry_0, 1_024, 3]
    assert (scene.account(ALICE).version, scene.account(ALICE).seq) == (2_050, 2_050)
    assert answers[-1].balance == initial + sum(range(2_051))
    # And then: each is replayed by a new owner, which has never seen where the ledger ends.
    stranger = scene.next_owner()
    for version in (1, 2, 1_022, 1_023, 1_024, 1_025, 2_046, 2_047, 2_048, 2_049, 2_050):
        retry = scene.send(sealed(*deposit(version)))
        stranger.work()
        assert scene.answers(retry) == [replace(answers[version - 1], replayed=True)]


@pytest.mark.parametrize("initial", [0, 500], ids=["without initial balance", "with initial balance"])
@pytest.mark.parametrize("version", [1_022, 1_023, 1_024, 1_025])
def test_a_ledger_that_ends_at_a_boundary_is_built_on(scene: Scene, version: int, initial: int) -> None:
    """By the owner that wrote it, and by the next one, which does not know where it ends."""
    # Given
    owner = scene.owner()
    if initial:
        scene.send(sealed(EnsureAccount(account_id=ALICE, initial_balance=initial)))
    deposits(scene, owner, 1, version)
    # If
    by_the_same = deposits(scene, owner, version + 1, version + 2)
    by_the_next = deposits(scene, scene.next_owner(), version + 3, version + 4)
    # Expect
    assert all(answer.ok for answer in (*by_the_same, *by_the_next))
    assert by_the_next[-1].balance == initial + sum(range(version + 5))
    assert scene.account(ALICE).version == version + 4


def test_an_owner_that_comes_back_finds_where_the_ledger_ends_now(scene: Scene) -> None:
    """What it remembers is a segment that has been filled up by another owner in the meantime."""
    first = scene.owner()
    deposits(scene, first, 1, 1_030)
    deposits(scene, scene.next_owner(), 1_031, 2_050)
    scene.server.now += LEASE_MS
    first.acquire("first again", [0])
    (answer,) = deposits(scene, first, 2_051, 2_051)
    assert answer.balance == sum(range(2_052))
    assert segments(scene) == [1_023, 1_024, 4]


def test_a_tail_of_a_later_segment_is_checked_too(caplog: pytest.LogCaptureFixture) -> None:
    """Also by an owner that first looks for it in the wrong segment."""
    scene = Scene()
    deposits(scene, scene.owner(), 1, 1_030)
    segment = scene.server.data[keys.ledger(0, ALICE, 1)]
    segment[-1] = segment[-1].replace(b'"amount":1030', b'"amount":9999')
    (answer,) = deposits(scene, scene.next_owner(), 1_031, 1_031)
    assert answer.outcome == "ACCOUNT_FROZEN"
    assert f"ALARM account {ALICE} is frozen" in caplog.text
