"""Dead letters from the fault to the replay, on the twin: once, whatever is doubled, lost, or comes late."""

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from app.domain.accounts import ACTIVE, FROZEN
from app.domain.commands import CashOut, Command, Commit, Deposit, EnsureAccount, Reserve, Withdraw
from app.domain.dead_letters import FAULT, REISSUED, REPLAYED, RESOLVED
from app.domain.identifiers import hash_key
from app.domain.outcomes import Answer, Outcome
from app.domain.rules.case import Case
from app.domain.state import Decision
from app.services.dead_letters import (
    ALREADY_APPLIED,
    APPLIED,
    CLOSED,
    KEY_LOST,
    NOT_FOUND,
    PARKED,
    REFUSED,
    STOPPED,
    UNDECODABLE,
    WAITING,
    Wish,
    causes_of,
)
from app.services.faults import StoreUnavailable
from app.services.operations import OpsDesk
from app.services.ops_log import QUEUED
from app.services.queue import Lane
from app.services.stops import Stop
from app.storage import keys
from app.storage.backends.memory_values import apply
from app.storage.stops import StoreStops
from tests.support.domain import replace_rule
from tests.support.ops_desk import MENDED, OLGA, desk_on, log_lines, replay
from tests.support.scene import (
    ALICE,
    ANNA,
    BOB,
    Owner,
    Scene,
    ScriptedBackend,
    go_away,
    reservation_id,
    sealed,
)

UNLUCKY = Deposit(account_id=ALICE, amount=13)
YEAR = 365 * 86_400_000


class Planted:
    """A mistake in a rule, for amounts of 13 chips, until it is mended."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, kind: type[Command]) -> None:
        self.mended = False
        self._rule = replace_rule(monkeypatch, kind, self)

    def __call__(self, case: Case, command: Command) -> Decision:
        if not self.mended and getattr(command, "amount", 13) == 13:
            raise ZeroDivisionError("canary")
        return self._rule(case, command)


class Ops:
    """A scene with ops in it: their desk, on a connection of its own, and a worker."""

    def __init__(self) -> None:
        self.scene = Scene()
        self.backend = ScriptedBackend(self.scene.server)
        self.desk: OpsDesk = desk_on(self.backend)
        self.letters = self.desk.dead_letters
        self.owner: Owner = self.scene.owner()

    def park(self, *commands: tuple[Command, str]) -> list[str]:
        """The ids of the dead letters that these became, each in a message of its own."""
        messages = [self.scene.send(sealed(command, key)) for command, key in commands]
        self.owner.work()
        return [self.scene.answers(message)[0].detail for message in messages]

    def retry(self, command: Command, key: str = "k") -> Answer:
        """What a caller is answered who sends the command now."""
        message = self.scene.send(sealed(command, key))
        self.owner.work()
        return self.scene.answers(message)[0]

    def result(self, dead_letter_id: str) -> tuple[str, str]:
        """How the letter is closed, and with which outcome; how its last replay ended where it is not."""
        letter = self.letters.letter(dead_letter_id)
        assert letter is not None
        return letter.closed, letter.answer.outcome if letter.answer else letter.replays[-1].outcome


@pytest.fixture
def ops() -> Iterator[Ops]:
    """Whatever was done: at the end the records agree with each other, and the log's chain holds."""
    ops = Ops()
    yield ops
    ops.scene.audit()
    log_lines(ops.desk)


def test_a_mended_fault_is_replayed_once_and_the_log_tells_it(
    ops: Ops, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Given a parked deposit, and the mistake mended a year later
    If a dry run is made, and the replay is asked for twice before a worker comes, and once after it
    Expect the chips once, the letter closed, and a caller's retry to be answered with what was applied.
    """
    # Given
    bug = Planted(monkeypatch, Deposit)
    (dead_letter_id,) = ops.park((UNLUCKY, "k"))
    foreseen = ops.letters.foresee(dead_letter_id)
    assert (foreseen.result, foreseen.detail) == (PARKED, "ZeroDivisionError: canary")
    bug.mended = True
    ops.scene.server.now += YEAR
    # If
    assert ops.letters.foresee(dead_letter_id).result == APPLIED
    assert replay(ops.letters, dead_letter_id) == [WAITING]
    assert replay(ops.letters, dead_letter_id) == [WAITING]
    assert ops.scene.waiting(0) == 1
    assert ops.retry(Deposit(account_id=ANNA, amount=1)).ok
    assert replay(ops.letters, dead_letter_id) == [CLOSED]
    # Expect
    assert ops.scene.amounts(ALICE) == [13]
    assert ops.result(dead_letter_id) == (REPLAYED, Outcome.OK)
    assert ops.letters.find(Wish()) == []
    answer = ops.retry(UNLUCKY)
    assert (answer.outcome, answer.replayed, answer.balance) == (Outcome.OK, True, 13)
    told = [(line.who, line.what, line.subjects, line.why, line.outcome) for line in log_lines(ops.desk)]
    assert told[0] == (OLGA, "dead-letters.replay", (dead_letter_id,), MENDED, QUEUED)
    record = keys.refusal(0, "Deposit", ALICE, hash_key("k"))
    assert record in ops.scene.server.expires, "the key is not held for ever by a letter that is closed"


def test_a_retry_of_the_caller_while_the_replay_waits_is_told_of_the_letter(
    ops: Ops, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes in the interactive lane, so before the replay; the replay is what is applied."""
    bug = Planted(monkeypatch, Deposit)
    (dead_letter_id,) = ops.park((UNLUCKY, "k"))
    bug.mended = True
    replay(ops.letters, dead_letter_id)
    answer = ops.retry(UNLUCKY)
    assert answer == Answer(outcome=Outcome.DEAD_LETTERED, detail=dead_letter_id, replayed=True)
    assert ops.scene.amounts(ALICE) == [13]
    assert ops.retry(UNLUCKY).balance == 13


@pytest.mark.parametrize("in_one_unit", [True, False])
def test_a_replay_that_is_delivered_twice_is_applied_once(
    ops: Ops, monkeypatch: pytest.MonkeyPatch, *, in_one_unit: bool
) -> None:
    """Its message is copied, and taken at once or later."""
    bug = Planted(monkeypatch, Deposit)
    (dead_letter_id,) = ops.park((UNLUCKY, "k"))
    bug.mended = True
    replay(ops.letters, dead_letter_id)
    queue = ops.scene.server.value(keys.queue(0, Lane.BULK))
    (entry,) = queue.entries.values()
    if not in_one_unit:
        ops.owner.work()
    for _ in range(3):
        ops.scene.send_text(0, entry.payload, Lane.BULK)
    ops.owner.work()
    assert ops.scene.amounts(ALICE) == [13]
    assert ops.scene.waiting() == 0
    assert ops.scene.dead_letters(0) == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_replay_whose_commit_was_in_doubt_is_asked_for_again(
    ops: Ops, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """The connection breaks at the commit, before it or after it: nobody knows, and it does not matter."""
    bug = Planted(monkeypatch, Deposit)
    (dead_letter_id,) = ops.park((UNLUCKY, "k"))
    bug.mended = True
    ops.backend.script("commit", **{when: go_away})
    with pytest.raises(StoreUnavailable):
        replay(ops.letters, dead_letter_id)
    assert replay(ops.letters, dead_letter_id) == [WAITING]
    assert ops.scene.waiting() == 1
    ops.owner.work()
    assert ops.scene.amounts(ALICE) == [13]
    queued = [line for line in log_lines(ops.desk) if line.outcome == QUEUED]
    assert len(queued) == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_worker_that_loses_its_commit_of_a_replay_applies_it_once(
    ops: Ops, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """What it has not seen committed it reads again, and finds it done or does it."""
    bug = Planted(monkeypatch, Deposit)
    (dead_letter_id,) = ops.park((UNLUCKY, "k"))
    bug.mended = True
    replay(ops.letters, dead_letter_id)
    ops.owner.backend.script("commit", **{when: go_away})
    with pytest.raises(StoreUnavailable):
        ops.owner.work()
    ops.owner.begin_again()
    assert ops.scene.amounts(ALICE) == [13]
    assert ops.result(dead_letter_id) == (REPLAYED, Outcome.OK)


def test_ops_who_resolve_a_letter_while_its_replay_is_decided_win_or_lose_whole(
    ops: Ops, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker has loaded the letter, and finds at its commit that it was closed: nothing is applied."""
    bug = Planted(monkeypatch, Deposit)
    (dead_letter_id,) = ops.park((UNLUCKY, "k"))
    bug.mended = True
    replay(ops.letters, dead_letter_id)

    def resolve() -> None:
        ops.letters.resolve([dead_letter_id], "otto", "paid by hand")

    ops.owner.backend.script("commit", before=resolve)
    ops.owner.work()
    assert ops.scene.elements(ALICE) == []
    letter = ops.letters.letter(dead_letter_id)
    assert letter is not None
    assert (letter.closed, letter.closed_by, letter.closed_reason) == (RESOLVED, "otto", "paid by hand")
    assert ops.scene.waiting() == 0


def test_a_replay_that_meets_the_fault_again_is_parked_as_the_same_letter(
    ops: Ops, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the history of its replays; and it can be replayed again."""
    bug = Planted(monkeypatch, Deposit)
    (dead_letter_id,) = ops.park((UNLUCKY, "k"))
    replay(ops.letters, dead_letter_id)
    ops.owner.work()
    (letter,) = ops.letters.find(Wish())
    assert (letter.dead_letter_id, letter.attempts, letter.replaying) == (dead_letter_id, 4, 0)
    assert [(each.number, each.by, each.outcome) for each in letter.replays] == [(1, OLGA, FAULT)]
    assert ops.retry(UNLUCKY).detail == dead_letter_id
    bug.mended = True
    replay(ops.letters, dead_letter_id)
    ops.owner.work()
    assert ops.scene.amounts(ALICE) == [13]
    letter = replace(letter, replays=())
    closed = ops.letters.letter(dead_letter_id)
    assert closed is not None
    assert [each.outcome for each in closed.replays] == [FAULT, "OK"]


def test_what_had_been_applied_is_seen_and_not_applied_again(
    ops: Ops, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its record is there, whoever made it: an older copy of the store, a repair by hand."""
    bug = Planted(monkeypatch, Deposit)
    (dead_letter_id,) = ops.park((UNLUCKY, "k"))
    bug.mended = True
    record = keys.refusal(0, "Deposit", ALICE, hash_key("k"))
    held = ops.scene.server.data.pop(record)
    assert ops.retry(UNLUCKY).balance == 13
    ops.scene.server.data[record] = held
    assert ops.letters.foresee(dead_letter_id).result == ALREADY_APPLIED
    replay(ops.letters, dead_letter_id)
    ops.owner.work()
    assert ops.result(dead_letter_id) == (REPLAYED, Outcome.OK)
    assert ops.scene.amounts(ALICE) == [13]


def test_a_refused_replay_tells_why_and_a_frozen_account_keeps_its_letter(
    ops: Ops, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is refused for good closes the letter; what ops can change does not."""
    bug = Planted(monkeypatch, Withdraw)
    poor, frozen = ops.park(
        (Withdraw(account_id=ALICE, amount=13), "poor"), (Withdraw(account_id=BOB, amount=13), "frozen")
    )
    bug.mended = True
    for each in (ALICE, BOB):
        assert ops.retry(Deposit(account_id=each, amount=12), "open").ok
    assert ops.retry(Deposit(account_id=BOB, amount=1), "more").ok
    ops.scene.hash_of(keys.account(1, BOB))["status"] = FROZEN.encode()
    foreseen = {each: ops.letters.foresee(each) for each in (poor, frozen)}
    assert {each: (told.result, told.outcome) for each, told in foreseen.items()} == {
        poor: (REFUSED, Outcome.INSUFFICIENT_BALANCE),
        frozen: (REFUSED, Outcome.ACCOUNT_FROZEN),
    }
    replay(ops.letters, poor, frozen)
    ops.owner.work()
    assert ops.result(poor) == (REPLAYED, Outcome.INSUFFICIENT_BALANCE)
    assert ops.result(frozen) == ("", Outcome.ACCOUNT_FROZEN)
    assert ops.retry(Withdraw(account_id=ALICE, amount=13), "poor").outcome is Outcome.INSUFFICIENT_BALANCE
    ops.scene.hash_of(keys.account(1, BOB))["status"] = ACTIVE.encode()
    replay(ops.letters, frozen)
    ops.owner.work()
    assert ops.scene.amounts(BOB) == [12, 1, -13]


def test_a_command_whose_key_was_lost_is_only_issued_anew_when_that_is_asked_for(
    ops: Ops, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under a key that follows from the letter, so that it is issued once however often it is asked for."""
    bug = Planted(monkeypatch, Deposit)
    (dead_letter_id,) = ops.park((UNLUCKY, "k"))
    bug.mended = True
    del ops.scene.server.data[keys.refusal(0, "Deposit", ALICE, hash_key("k"))]
    assert replay(ops.letters, dead_letter_id) == [KEY_LOST]
    assert ops.letters.reissue(dead_letter_id, OLGA, "the store was restored").result == REISSUED
    assert ops.letters.reissue(dead_letter_id, OLGA, "once more").result == CLOSED
    assert ops.retry(UNLUCKY).detail == dead_letter_id, "a retry in the meantime is no second deposit"
    ops.owner.work()
    assert ops.scene.amounts(ALICE) == [13]
    letter = ops.letters.letter(dead_letter_id)
    assert letter is not None
    assert (letter.closed, letter.new_key) == (REISSUED, f"reissue-{dead_letter_id}")


def test_what_a_retry_has_applied_after_its_key_was_lost_is_not_issued_anew(
    ops: Ops, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor between the look and the commit."""
    bug = Planted(monkeypatch, Deposit)
    (dead_letter_id,) = ops.park((UNLUCKY, "k"))
    bug.mended = True
    del ops.scene.server.data[keys.refusal(0, "Deposit", ALICE, hash_key("k"))]

    def retry() -> None:
        ops.retry(UNLUCKY)

    ops.backend.script("commit", before=retry)
    assert ops.letters.reissue(dead_letter_id, OLGA, "w").result == ALREADY_APPLIED
    ops.owner.work()
    assert ops.scene.amounts(ALICE) == [13]


def test_commands_without_a_key_are_replayed_on_the_state_as_it_is(
    ops: Ops, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A buy-in and an opening; each has its effect once, though no key says so."""
    bugs = [Planted(monkeypatch, kind) for kind in (Commit, EnsureAccount)]
    assert ops.retry(Deposit(account_id=ALICE, amount=50)).ok
    assert ops.retry(Reserve(account_id=ALICE, table_id="t1", amount=40, timeout_seconds=900)).ok
    ids = ops.park(
        (Commit(reservation_id=reservation_id(ALICE, "k")), ""),
        (EnsureAccount(account_id=ANNA, initial_balance=13), ""),
    )
    for bug in bugs:
        bug.mended = True
    assert [ops.letters.foresee(each).result for each in ids] == [APPLIED, APPLIED]
    for _ in range(2):
        replay(ops.letters, *ids)
        ops.owner.work()
    assert [ops.result(each) for each in ids] == [(REPLAYED, Outcome.OK)] * 2
    assert (ops.scene.amounts(ALICE), ops.scene.amounts(ANNA)) == ([50, -40], [13])


def test_what_nobody_can_read_is_shown_and_resolved_but_not_replayed(ops: Ops) -> None:
    """Neither a message nor a command."""
    ops.scene.send_text(0, b"\xff\x00")
    ops.scene.send(sealed(UNLUCKY, ""))
    ops.owner.work()
    letters = ops.letters.find(Wish())
    ids = [letter.dead_letter_id for letter in letters]
    assert len(ids) == 2
    assert replay(ops.letters, *ids) == [UNDECODABLE, UNDECODABLE]
    assert [each.result for each in ops.letters.resolve(ids, OLGA, "a probe")] == [RESOLVED, RESOLVED]
    assert [each.result for each in ops.letters.resolve(ids, OLGA, "again")] == [CLOSED, CLOSED]
    assert ops.letters.find(Wish()) == []
    assert replay(ops.letters, "000-i-1-0-0", "nonsense") == [NOT_FOUND, NOT_FOUND]


def test_a_resolved_letter_keeps_its_key(ops: Ops, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was settled in another way: a late retry must not be a second one."""
    bug = Planted(monkeypatch, Deposit)
    (dead_letter_id,) = ops.park((UNLUCKY, "k"))
    bug.mended = True
    ops.letters.resolve([dead_letter_id], OLGA, "paid by hand")
    ops.scene.server.now += YEAR
    answer = ops.retry(UNLUCKY)
    assert answer == Answer(outcome=Outcome.DEAD_LETTERED, detail=dead_letter_id, replayed=True)
    assert ops.scene.elements(ALICE) == []


def test_nothing_is_replayed_while_its_kind_is_stopped_unless_forced(
    ops: Ops, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a worker that is alive; one that is gone has taken its stop with it."""
    bug = Planted(monkeypatch, Deposit)
    (dead_letter_id,) = ops.park((UNLUCKY, "k"))
    bug.mended = True
    stop = Stop(kind="Deposit", faults=21, of=30, error="canary", worker="gone")
    StoreStops(ops.backend).post([stop])
    assert ops.letters.foresee(dead_letter_id).result == APPLIED
    StoreStops(ops.backend).post([replace(stop, worker="owner")])
    assert replay(ops.letters, dead_letter_id) == [STOPPED]
    assert ops.scene.waiting() == 0
    assert replay(ops.letters, dead_letter_id, force=True) == [WAITING]
    ops.owner.work()
    assert ops.scene.amounts(ALICE) == [13]


def test_a_forced_replay_takes_the_place_of_the_one_that_waits(
    ops: Ops, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both messages are in the queue; the later one is applied, the earlier one is nothing any more."""
    bug = Planted(monkeypatch, Deposit)
    (dead_letter_id,) = ops.park((UNLUCKY, "k"))
    bug.mended = True
    replay(ops.letters, dead_letter_id)
    assert replay(ops.letters, dead_letter_id, force=True) == [WAITING]
    assert ops.scene.waiting() == 2
    ops.owner.work()
    letter = ops.letters.letter(dead_letter_id)
    assert letter is not None
    assert [(each.number, each.outcome) for each in letter.replays] == [(1, ""), (2, "OK")]
    assert ops.scene.amounts(ALICE) == [13]


def test_letters_are_found_by_what_ops_know_of_them(ops: Ops, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order in which their commands had come; and grouped by cause."""
    Planted(monkeypatch, Deposit)
    Planted(monkeypatch, CashOut)
    first = ops.park((UNLUCKY, "a"), (Deposit(account_id=BOB, amount=13), "b"))
    ops.scene.server.now += 1_000
    last = ops.park((CashOut(account_id=ALICE, table_id="t9", amount=13), "c"))
    moment = ops.scene.server.now
    found = {
        name: [letter.dead_letter_id for letter in ops.letters.find(wish)]
        for name, wish in {
            "all": Wish(),
            "kind": Wish(kind="CashOut"),
            "account": Wish(account_id=BOB),
            "table": Wish(table_id="t9"),
            "error": Wish(error="Zero"),
            "other": Wish(error="Key"),
            "since": Wish(since=moment),
            "until": Wish(until=moment - 1),
        }.items()
    }
    assert found == {
        "all": [*first, *last],
        "kind": last,
        "account": first[1:],
        "table": last,
        "error": [*first, *last],
        "other": [],
        "since": last,
        "until": first,
    }
    causes = causes_of(ops.letters.find(Wish()))
    assert [(each.kind, each.count, each.chips, each.example) for each in causes] == [
        ("Deposit", 2, 26, first[0]),
        ("CashOut", 1, 13, last[0]),
    ]


def test_a_letter_of_another_release_is_left_alone(ops: Ops) -> None:
    """It is not guessed, and harms no listing."""
    apply(ops.scene.server, "HSET", keys.dead_letters(0), ["000-i-1-0-0", '{"v":9}'])
    assert ops.letters.find(Wish()) == []
    assert replay(ops.letters, "000-i-1-0-0") == [NOT_FOUND]
