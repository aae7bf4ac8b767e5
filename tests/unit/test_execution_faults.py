"""What our own mistakes cost: the command that meets one is parked, and nobody else notices."""

from collections.abc import Callable, Iterator

import msgspec
import pytest
from msgspec.structs import replace

from app.domain.commands import (
    CashOut,
    Command,
    Commit,
    Deposit,
    ExpireReservation,
    Part,
    Payout,
    PayTogether,
    Reserve,
    Withdraw,
)
from app.domain.identifiers import hash_key, partition_of
from app.domain.outcomes import Answer, Outcome
from app.domain.rules.case import Case
from app.domain.state import Decision
from app.queueing.envelope import encode_message
from app.services.faults import StoreUnavailable
from app.services.queue import Lane
from app.services.stops import FaultWatch
from app.storage import keys
from tests.support.domain import replace_rule
from tests.support.scene import (
    ALICE,
    ANNA,
    BOB,
    CAROL,
    PARTITIONS,
    Scene,
    reservation_id,
    sealed,
)

UNLUCKY = Deposit(account_id=ALICE, amount=13)


@pytest.fixture
def scene() -> Iterator[Scene]:
    """Whatever failed: at the end the records agree with each other, to the chip."""
    scene = Scene()
    yield scene
    scene.audit()


class Bug:
    """A mistake in a rule: it raises for amounts of 13 chips, at first or always, and counts how often."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, kind: type[Command], *, times: int = 1000) -> None:
        self.met = 0
        self._times = times
        self._rule = replace_rule(monkeypatch, kind, self)

    def __call__(self, case: Case, command: Command) -> Decision:
        if getattr(command, "amount", 13) == 13 and self.met < self._times:
            self.met += 1
            raise ZeroDivisionError("canary")
        return self._rule(case, command)


def parked(answer: Answer) -> str:
    """The id of the dead letter that the answer names."""
    assert answer == Answer(outcome=Outcome.DEAD_LETTERED, detail=answer.detail)
    return answer.detail


def test_a_fault_is_tried_twice_then_parked(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it is applied, and ops find everything they need."""
    # Given
    bug, owner = Bug(monkeypatch, Deposit), scene.owner()
    raw = sealed(UNLUCKY, "k-13")
    message = scene.send(raw)
    # If
    owner.work()
    # Expect
    assert bug.met == 2
    dead_letter_id = parked(scene.answers(message)[0])
    assert scene.waiting() == 0
    assert scene.elements(ALICE) == []
    (letter,) = scene.dead_letters(0)
    assert letter.dead_letter_id == dead_letter_id == f"000-i-{letter.entry_id}-0"
    assert (letter.raw, letter.error) == (bytes(raw).decode(), "ZeroDivisionError: canary")
    assert (letter.attempts, letter.arrived_at, letter.parked_at) == (2, scene.server.now, scene.server.now)
    assert (letter.kind, letter.key, letter.command_id) == ("Deposit", "k-13", "c-1")
    assert (letter.account_id, letter.amount, letter.lane) == (ALICE, 13, Lane.INTERACTIVE)


def test_a_fault_that_does_not_come_again_costs_nothing_but_a_try(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is decided anew, on a fresh load; what came after it on that account waits for it."""
    # Given
    bug, owner = Bug(monkeypatch, Deposit, times=1), scene.owner()
    first = scene.send(sealed(UNLUCKY), sealed(Withdraw(account_id=ALICE, amount=10)))
    second = scene.send(sealed(Deposit(account_id=ALICE, amount=1), "b"))
    # If
    owner.work()
    # Expect
    assert bug.met == 1
    assert [answer.balance for answer in (*scene.answers(first), *scene.answers(second))] == [13, 3, 4]
    assert scene.amounts(ALICE) == [13, -10, 1]
    assert scene.dead_letters(0) == []


def test_a_parked_command_harms_neither_the_rest_nor_the_order_of_its_account(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others go on at once; later commands of the same account once it is parked, in their order."""
    # Given
    Bug(monkeypatch, Deposit)
    owner = scene.owner()
    mixed = scene.send(
        sealed(Deposit(account_id=ALICE, amount=5), "a"),
        sealed(UNLUCKY, "b"),
        sealed(Deposit(account_id=ANNA, amount=5), "c"),
        sealed(Withdraw(account_id=ALICE, amount=5), "d"),
        sealed(Withdraw(account_id=ALICE, amount=5), "e"),
    )
    other = scene.send(sealed(Deposit(account_id=BOB, amount=5)))
    # If
    owner.work()
    # Expect
    outcomes = [answer.outcome for answer in scene.answers(mixed)]
    assert outcomes == [
        Outcome.OK,
        Outcome.DEAD_LETTERED,
        Outcome.OK,
        Outcome.OK,
        Outcome.INSUFFICIENT_BALANCE,
    ]
    assert scene.answers(other)[0].ok
    assert scene.amounts(ALICE) == [5, -5]
    assert len(scene.dead_letters(0)) == 1


def test_what_is_behind_payouts_that_met_a_fault_together_waits_for_them(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On each of their accounts, which the command itself does not name."""
    Bug(monkeypatch, PayTogether, times=1)
    parts = (Part(line=1, key="b#1", account_id=ALICE, amount=50),)
    together = PayTogether(batch_id="b", parts=parts)
    message = scene.send(sealed(together), sealed(Withdraw(account_id=ALICE, amount=30), "w"))
    scene.owner().work()
    assert [answer.outcome for answer in scene.answers(message)] == [Outcome.OK, Outcome.OK]


@pytest.mark.parametrize(("kind", "deposit", "buy_in"), [(Reserve, 20, 13), (Deposit, 13, 12)])
def test_a_commit_waits_for_a_reservation_that_met_a_fault_or_waits_for_one(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, kind: type[Command], deposit: int, buy_in: int
) -> None:
    """It names only the reservation, whose account nobody knows before it is made."""
    bug = Bug(monkeypatch, kind, times=1)
    message = scene.send(
        sealed(Deposit(account_id=ALICE, amount=deposit)),
        sealed(Reserve(account_id=ALICE, table_id="t1", amount=buy_in), "r"),
        sealed(Commit(reservation_id=reservation_id(ALICE, "r"))),
    )
    scene.owner().work()
    assert bug.met == 1
    assert [answer.outcome for answer in scene.answers(message)] == [Outcome.OK] * 3
    assert scene.amounts(ALICE) == [deposit, -buy_in]


def test_a_parked_key_answers_with_its_dead_letter_until_ops_clear_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for 24 hours only, and also once the mistake is mended: whether it shall run is for ops to say."""
    # Given
    bug, owner = Bug(monkeypatch, Deposit, times=2), scene.owner()
    message = scene.send(sealed(UNLUCKY))
    owner.work()
    dead_letter_id = parked(scene.answers(message)[0])
    for wait_ms in (0, 86_400_000, 365 * 86_400_000):
        # If
        scene.server.now += wait_ms
        retry = scene.send(sealed(UNLUCKY))
        owner.work()
        # Expect
        (answer,) = scene.answers(retry)
        assert answer == Answer(outcome=Outcome.DEAD_LETTERED, detail=dead_letter_id, replayed=True)
    assert bug.met == 2
    assert scene.elements(ALICE) == []
    record = keys.refusal(0, "Deposit", ALICE, hash_key("k"))
    assert record in scene.server.data
    assert record not in scene.server.expires


@pytest.mark.parametrize("in_one_message", [True, False])
def test_a_second_command_of_a_parked_key_is_a_retry_in_the_same_unit_too(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, *, in_one_message: bool
) -> None:
    """One key, one outcome: it must not be applied when the mistake has gone in the meantime."""
    Bug(monkeypatch, Deposit, times=2)
    envelopes = [sealed(UNLUCKY), sealed(UNLUCKY)]
    messages = [scene.send(*envelopes)] if in_one_message else [scene.send(each) for each in envelopes]
    scene.owner().work()
    first, second = [answer for message in messages for answer in scene.answers(message)]
    assert second == replace(first, replayed=True)
    assert parked(first)
    assert scene.elements(ALICE) == []
    assert len(scene.dead_letters(0)) == 1


GOOD = sealed(Deposit(account_id=ALICE, amount=1), "good")
ENVELOPE = {"v": 1, "kind": "Deposit", "key": "bad", "payload": {"accountId": ALICE, "amount": 1}}


@pytest.mark.parametrize(
    ("envelope", "reason"),
    [
        ({**ENVELOPE, "v": 2}, "unknown envelope version 2"),
        ({**ENVELOPE, "kind": "Gift"}, "unknown command Gift"),
        ({**ENVELOPE, "kind": ""}, "unknown command "),
        ({**ENVELOPE, "key": ""}, "idempotency_key is missing"),
        ({**ENVELOPE, "payload": {"accountId": ALICE, "amount": 0}}, "amount must be a whole number"),
        ({**ENVELOPE, "payload": {"accountId": ALICE, "amount": "1"}}, "Expected `int`, got `str`"),
        ({**ENVELOPE, "payload": {"accountId": BOB, "amount": 1}}, "does not belong to partition 0"),
        ({**ENVELOPE, "payload": {"amount": 1}}, "missing required field `accountId`"),
        ({**ENVELOPE, "payload": []}, "Expected `object`, got `array`"),
        ({"kind": "Deposit"}, "missing required field `v`"),
        ([], "Expected `object`, got `array`"),
        (None, "Expected `object`, got `null`"),
    ],
)
def test_a_command_that_cannot_be_understood_is_parked_alone(
    scene: Scene, envelope: object, reason: str
) -> None:
    """Its neighbours in the message are carried out; it is kept whole, as text."""
    raw = msgspec.json.encode(envelope)
    message = scene.send(GOOD, msgspec.Raw(raw), sealed(Deposit(account_id=ANNA, amount=1)))
    scene.owner().work()
    before, bad, after = scene.answers(message)
    assert before.ok
    assert after.ok
    (letter,) = scene.dead_letters(0)
    assert letter.dead_letter_id == parked(bad)
    assert letter.dead_letter_id.endswith("-1")
    assert letter.error.startswith("undecodable command: ")
    assert reason in letter.error
    assert letter.raw == raw.decode()


@pytest.mark.parametrize(
    ("payload", "raw"),
    [
        (b"", ""),
        (b"no json", "no json"),
        (b"{}", "{}"),
        (b"\xff\x00", "hex:ff00"),
        (encode_message([GOOD], "m").encode().replace(b'"execute"', b'"explode"'), None),
        (encode_message([GOOD], "m").encode().replace(b'"balance"', b'"default"'), None),
        (encode_message([GOOD] * 129, "m").encode(), None),
        (encode_message([], "m").encode(), None),
    ],
)
def test_a_message_that_cannot_be_understood_is_parked_whole(
    scene: Scene, payload: bytes, raw: str | None
) -> None:
    """Nobody can be told; the queue behind it goes on."""
    entry_id = scene.send_text(0, payload)
    message = scene.send(sealed(UNLUCKY))
    scene.owner().work()
    assert scene.answers(message)[0].ok
    assert scene.waiting() == 0
    (letter,) = scene.dead_letters(0)
    assert letter.dead_letter_id == f"000-i-{entry_id}-0"
    assert letter.error.startswith("undecodable message: ")
    assert letter.raw == (payload.decode() if raw is None else raw)
    assert scene.amounts(ALICE) == [13], "not a command of it was carried out"


def spoil_the_counter(scene: Scene) -> None:
    """One digit more than the commit adds to without looking."""
    table = keys.table(partition_of("t1", PARTITIONS), "t1")
    scene.hash_of(table)[f"a|{BOB}"] = b"1" * 19


def spoil_the_account(scene: Scene) -> None:
    """A key of another type where Bob's account should be: it cannot even be read."""
    scene.server.data[keys.account(1, BOB)] = [b"no hash"]


def spoil_a_hold(scene: Scene) -> None:
    """A record of ours that our own code cannot read."""
    scene.hash_of(keys.holds(1, BOB))["r1"] = b"five chips"


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (spoil_the_counter, "REFUSED counter"),
        (spoil_the_account, "WRONGTYPE"),
        (spoil_a_hold, "ValueError: "),
    ],
)
def test_a_unit_that_fails_as_a_whole_is_halved_until_the_culprit_is_alone(
    spoil: Callable[[Scene], None], reason: str
) -> None:
    """Whether it cannot be loaded or not be committed: all others are carried out, it is parked."""
    # Given
    scene = Scene()
    owner = scene.owner()
    scene.send(*(sealed(Deposit(account_id=each, amount=1), "open") for each in (ALICE, ANNA)))
    scene.send(sealed(Deposit(account_id=BOB, amount=1), "open"))
    owner.work()
    spoil(scene)
    # If
    innocents = [
        scene.send(sealed(CashOut(account_id=each, table_id="t1", amount=1), f"{number}"))
        for number in range(4)
        for each in (ALICE, CAROL)
    ]
    culprit = scene.send(sealed(CashOut(account_id=BOB, table_id="t1", amount=1), "bad"))
    in_one_message = scene.send(
        *(sealed(CashOut(account_id=ANNA, table_id="t1", amount=1), f"{n}") for n in "abc")
    )
    owner.work()
    # Expect
    expected = [Outcome.OK, Outcome.ACCOUNT_NOT_FOUND] * 4
    assert [scene.answers(message)[0].outcome for message in innocents] == expected
    assert [answer.balance for answer in scene.answers(in_one_message)] == [2, 3, 4]
    assert scene.amounts(ALICE) == [1] * 5
    assert scene.waiting() == 0
    (letter,) = scene.dead_letters(1)
    assert letter.dead_letter_id == parked(scene.answers(culprit)[0])
    assert letter.error.startswith(reason)
    assert scene.amounts(BOB) == [1]


def test_what_can_be_neither_carried_out_nor_parked_stays_in_the_queue() -> None:
    """The owner says that the store is not to be worked with, and nothing is lost when that is mended."""
    # Given
    scene = Scene()
    owner = scene.owner()
    spoil_the_account(scene)
    scene.server.data[keys.dead_letters(1)] = [b"no hash"]
    message = scene.send(sealed(Deposit(account_id=BOB, amount=1)))
    # If
    with pytest.raises(StoreUnavailable, match="neither carried out nor parked"):
        owner.work()
    # Expect
    assert (scene.told(message), scene.waiting()) == ([], 1)
    del scene.server.data[keys.account(1, BOB)]
    owner.begin_again()
    assert scene.answers(message)[0].balance == 1


def test_a_hold_that_cannot_be_ended_is_no_dead_letter_and_stops_nobody(scene: Scene) -> None:
    """
    Given a hold past its time whose record nobody can read
    If the scheduler has it ended, again and again
    Expect what is behind it in the bulk lane to be carried out.
    """
    owner = scene.owner(watch=FaultWatch())
    hold = Reserve(account_id=ALICE, table_id="t", amount=10, timeout_seconds=1)
    scene.send(sealed(Deposit(account_id=ALICE, amount=100)), sealed(hold))
    owner.work()
    held = reservation_id(ALICE, "k")
    record = scene.server.data[keys.reservation(0, held)]
    scene.server.data[keys.reservation(0, held)] = record.replace(b'"v":1', b'"v":999')
    for _ in range(30):
        scene.send(sealed(ExpireReservation(reservation_id=held)), lane=Lane.BULK)
        owner.work()
    message = scene.send(sealed(Payout(account_id=ANNA, amount=5)), lane=Lane.BULK)
    owner.work()
    assert [answer.outcome for answer in scene.answers(message)] == [Outcome.OK]
    assert scene.dead_letters(0) == []
