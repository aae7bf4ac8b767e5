"""Dead letters out of the ordinary: keys lost, or none, unreadable ones, stopped kinds; and finding them."""

import pytest
from msgspec.structs import replace

from app.domain.accounts import ACTIVE, FROZEN
from app.domain.commands import CashOut, Commit, Deposit, EnsureAccount, Reserve
from app.domain.dead_letters import REISSUED, REPLAYED, RESOLVED
from app.domain.identifiers import hash_key
from app.domain.outcomes import Answer, Outcome
from app.queueing.envelope import seal
from app.services.dead_letters import (
    ALREADY_APPLIED,
    APPLIED,
    CLOSED,
    KEY_LOST,
    NOT_FOUND,
    STOPPED,
    UNDECODABLE,
    WAITING,
    Wish,
    causes_of,
)
from app.services.queue import Lane
from app.services.stops import Stop
from app.services.tracking import OWN
from app.storage import keys
from app.storage.backends.memory_values import apply
from app.storage.stops import StoreStops
from tests.support.ops_desk import OLGA, replay
from tests.support.ops_scene import UNLUCKY, YEAR, OpsScene, Planted
from tests.support.scene import (
    ALICE,
    ANNA,
    BOB,
    reservation_id,
    sealed,
)


def test_a_command_whose_key_was_lost_is_only_issued_anew_when_that_is_asked_for(
    ops: OpsScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under a key that follows from the letter, so that it is issued once however often it is asked for."""
    bug = Planted(monkeypatch, Deposit)
    (dead_letter_id,) = ops.park((UNLUCKY, "k"))
    bug.mended = True
    del ops.scene.server.data[keys.refusal(0, "Deposit", ALICE, hash_key("k"))]
    assert replay(ops.letters, dead_letter_id) == [KEY_LOST]
    assert ops.letters.reissue(dead_letter_id, OLGA, "the store was restored").result == REISSUED
    assert ops.letters.reissue(dead_letter_id, OLGA, "once more").result == CLOSED
    ops.owner.acquire("owner", [0])
    assert ops.retry(UNLUCKY).detail == dead_letter_id, "a retry in the meantime is no second deposit"
    ops.owner.work()
    assert ops.scene.amounts(ALICE) == [13]
    letter = ops.letters.letter(dead_letter_id)
    assert letter is not None
    assert (letter.closed, letter.new_key) == (REISSUED, f"reissue-{dead_letter_id}")


def test_what_a_retry_has_applied_after_its_key_was_lost_is_not_issued_anew(
    ops: OpsScene, monkeypatch: pytest.MonkeyPatch
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


def test_what_a_worker_has_in_hand_while_its_command_is_issued_anew_is_not_applied(
    ops: OpsScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Given a letter whose key was lost, and a retry that a worker has loaded
    If ops issue the command anew before that worker commits
    Expect the worker to look again, and find the key held.
    """
    bug = Planted(monkeypatch, Deposit)
    (dead_letter_id,) = ops.park((UNLUCKY, "k"))
    bug.mended = True
    del ops.scene.server.data[keys.refusal(0, "Deposit", ALICE, hash_key("k"))]

    def issue_anew() -> None:
        assert ops.letters.reissue(dead_letter_id, OLGA, "w").result == REISSUED

    ops.owner.backend.script("commit", before=issue_anew)
    retry = ops.scene.send(sealed(UNLUCKY, "k"))
    assert ops.owner.work() == {0}
    ops.owner.acquire("owner", [0])
    ops.owner.work()
    assert [answer.detail for answer in ops.scene.answers(retry)] == [dead_letter_id]
    assert ops.scene.amounts(ALICE) == [13]


def test_commands_without_a_key_are_replayed_on_the_state_as_it_is(
    ops: OpsScene, monkeypatch: pytest.MonkeyPatch
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


def test_what_nobody_can_read_is_shown_and_resolved_but_not_replayed(ops: OpsScene) -> None:
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


def test_a_resolved_letter_keeps_its_key(ops: OpsScene, monkeypatch: pytest.MonkeyPatch) -> None:
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
    ops: OpsScene, monkeypatch: pytest.MonkeyPatch
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


def test_letters_are_found_by_what_ops_know_of_them(ops: OpsScene, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_letter_of_another_release_is_left_alone(ops: OpsScene) -> None:
    """It is not guessed, and harms no listing."""
    apply(ops.scene.server, "HSET", keys.dead_letters(0), ["000-i-1-0-0", '{"v":9}'])
    assert ops.letters.find(Wish()) == []
    assert replay(ops.letters, "000-i-1-0-0") == [NOT_FOUND]


def test_the_state_of_a_submitted_command_is_parked_until_a_replay_settles_it(
    ops: OpsScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not refused by the way: what leaves its dead letter parked, or may not run, leaves the state too."""
    bug = Planted(monkeypatch, Deposit)
    tracked = seal(UNLUCKY, key="k", command_id="job-1", remaining_ms=0, track=OWN)
    ops.scene.send(tracked, lane=Lane.BULK)
    ops.owner.work()
    bug.mended = True
    (letter,) = ops.letters.find(Wish())
    states = ops.scene.hash_of(keys.command(0, "job-1"))
    parked = dict(states)
    assert letter.dead_letter_id.encode() in b"".join(parked.values())
    assert ops.retry(Deposit(account_id=ALICE, amount=1), "open").ok
    for status in (FROZEN, ACTIVE):
        assert states == parked
        ops.scene.hash_of(keys.account(0, ALICE))["status"] = status.encode()
        replay(ops.letters, letter.dead_letter_id)
        queue = ops.scene.server.value(keys.queue(0, Lane.BULK))
        (entry,) = queue.entries.values()
        ops.owner.work()
    assert states != parked
    settled = dict(states)
    ops.scene.send_text(0, entry.payload, Lane.BULK)
    ops.owner.work()
    assert states.keys() == settled.keys()
    assert ops.scene.amounts(ALICE) == [1, 13]
