"""What ops read and write in the store, on every ground: the log's chain, the overview, stops, letters."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from app.domain.commands import CashOut, Deposit, FreezeAccount, UnfreezeAccount, Withdraw
from app.domain.dead_letters import REISSUED, RESOLVED, DeadLetter
from app.domain.identifiers import hash_key
from app.domain.outcomes import Outcome
from app.services.dead_letters import KEY_LOST, Wish
from app.services.ops_log import Deed
from app.services.queue import Lane
from app.services.stops import Stop
from app.storage import codec, keys
from app.storage.backend import Backend, Reply
from app.storage.ops_log import StoreOpsLog
from app.storage.plan import Plan
from app.storage.stops import StoreStops
from tests.support.carrying import PARTITIONS, Carrier, id_in, ids_in
from tests.support.grounds import Ground, read, write
from tests.support.ops_desk import OLGA, desk_on, log_lines, replay

ANNA, BERT = id_in(1), id_in(2)
LETTER = "001-i-1700000000000-0-0"
WRITERS, LINES_EACH = 4, 10


def deed(number: int = 1, who: str = OLGA) -> Deed:
    return Deed(who=who, what="test", subjects=(f"s{number}",), why="grüße ✓", outcome="DONE")


def put_letter(backend: Backend, raw: str) -> None:
    """A letter as a worker has parked it, with its key held."""
    letter = DeadLetter(
        dead_letter_id=LETTER,
        partition=1,
        lane="interactive",
        entry_id="1700000000000-0",
        raw=raw,
        error="e",
        attempts=2,
        arrived_at=1,
        parked_at=2,
        kind="Deposit",
        key="k",
        account_id=ANNA,
        amount=7,
    )
    write(backend, ("HSET", keys.dead_letters(1), LETTER, codec.encode(letter)))


RAW = f'{{"v":1,"kind":"Deposit","key":"k","payload":{{"accountId":"{ANNA}","amount":7}}}}'


def test_lines_follow_each_other_and_are_read_from_their_end(ground: Ground) -> None:
    """Each with who, what, why and when; pages go back from the newest."""
    backend = ground.backend()
    log = StoreOpsLog(backend)
    assert (log.lines(0, 10), log.verify().lines) == ([], 0)
    for number in range(1, 6):
        log.append(deed(number))
    assert [each.line.seq for each in log.lines(0, 2)] == [5, 4]
    assert [each.line.seq for each in log.lines(4, 10)] == [3, 2, 1]
    assert log.lines(1, 10) == []
    newest, before = log.lines(0, 2)
    assert newest.line.previous_checksum == before.checksum
    assert (newest.line.who, newest.line.subjects, newest.line.why) == (OLGA, ("s5",), "grüße ✓")
    report = log.verify()
    assert (report.ok, report.lines, report.head) == (True, 5, newest.checksum)


def test_lines_that_are_written_at_once_become_one_chain(ground: Ground) -> None:
    """Each writer finds the head moved now and then, and puts its line behind it."""

    def work(name: str) -> None:
        log = StoreOpsLog(ground.backend())
        for number in range(LINES_EACH):
            log.append(deed(number, who=name))

    writers = [threading.Thread(target=work, args=(f"writer {number}",)) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    lines = log_lines(desk_on(ground.backend()))
    assert len(lines) == WRITERS * LINES_EACH
    for number in range(WRITERS):
        own = [line.subjects[0] for line in lines if line.who == f"writer {number}"]
        assert own == [f"s{each}" for each in range(LINES_EACH)]


class Rewritten:
    """A connection to a store in which somebody has put other lines."""

    def __init__(self, backend: Backend, lines: list[bytes]) -> None:
        self._backend = backend
        self._lines = lines

    def read(self, plan: Plan) -> tuple[int, list[Reply]]:
        now, replies = self._backend.read(plan)
        command, _, *places = plan.reads[0]
        if command == "LRANGE":
            first, last = map(int, places)
            return now, [self._lines[first : last + 1]]
        return now, replies


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda lines: [lines[0].replace(b"olga", b"otto"), *lines[1:]], "line 1 was altered"),
        (lambda lines: [lines[0], *lines[2:]], "line 2 does not follow the one before it"),
        (lambda lines: [*lines[:2], lines[3], lines[2], lines[4]], "line 3 does not follow"),
        (lambda lines: lines[:-1], "1 lines are missing at the end"),
        (lambda lines: [b"x" + lines[0][1:], *lines[1:]], "line 1 was altered"),
    ],
)
def test_whoever_alters_moves_or_removes_a_line_is_found_out(
    ground: Ground, change: Callable[[list[bytes]], list[bytes]], problem: str
) -> None:
    """The first bad line is named."""
    backend = ground.backend()
    for number in range(1, 6):
        StoreOpsLog(backend).append(deed(number))
    rewritten: Any = Rewritten(backend, change(ground.dump()[keys.OPS_LOG].value))
    report = StoreOpsLog(rewritten).verify()
    assert not report.ok
    assert report.problem.startswith(problem)


def test_a_deed_and_its_line_are_one_write(ground: Ground) -> None:
    """The pause, twice; and a letter that is resolved, then asked for again."""
    backend = ground.backend()
    desk = desk_on(backend)
    put_letter(backend, RAW)
    assert desk.switches.pause(OLGA, "maintenance")
    assert not desk.switches.pause("otto", "also")
    paused = desk.overview.status().paused
    assert paused is not None
    assert (paused.by, paused.why) == (OLGA, "maintenance")
    assert desk.switches.resume(OLGA, "done")
    assert not desk.switches.resume(OLGA, "done")
    assert desk.overview.status().paused is None
    assert [each.result for each in desk.dead_letters.resolve([LETTER], OLGA, "by hand")] == [RESOLVED]
    assert keys.closed_letter(1, LETTER) in ground.dump()
    assert keys.dead_letters(1) not in ground.dump()
    told = [(line.what, line.why) for line in log_lines(desk)]
    assert told == [("pause", "maintenance"), ("resume", "done"), ("dead-letters.resolve", "by hand")]


def test_what_is_issued_anew_is_queued_with_its_letter_and_its_line(ground: Ground) -> None:
    """In the bulk lane, under its new key, and the old key is held again."""
    backend = ground.backend()
    desk = desk_on(backend)
    put_letter(backend, RAW)
    assert replay(desk.dead_letters, LETTER) == [KEY_LOST]
    assert desk.dead_letters.reissue(LETTER, OLGA, "its key was lost").result == REISSUED
    (entry,) = backend.take({(1, Lane.BULK): "0-0"}, 10, 0)[1, Lane.BULK]
    assert f'"key":"reissue-{LETTER}"'.encode() in entry.payload
    (record,) = read(backend, ("GET", keys.refusal(1, "Deposit", ANNA, hash_key("k"))))
    found = codec.refusal(record)
    assert found is not None
    assert (found.answer.outcome, found.answer.detail) == (Outcome.DEAD_LETTERED, LETTER)
    assert [line.subjects for line in log_lines(desk)] == [(LETTER, f"reissue-{LETTER}")]


def test_an_overview_tells_what_there_is(ground: Ground) -> None:
    """Owners, queues, letters, stops and the equation; nothing of what is not."""
    backend = ground.backend()
    desk = desk_on(backend)
    empty = desk.overview.status()
    assert (empty.workers, len(empty.unowned), empty.leader.name) == ([], PARTITIONS, "")
    assert empty.problems == [
        "4 of 4 partitions have no owner",
        "no front end takes commands",
        "no scheduler leads",
    ]
    carrier = Carrier(ground.backend(), "w1")
    carrier.carry_out((Deposit(account_id=ANNA, amount=50), "d"), (Withdraw(account_id=ANNA, amount=8), "w"))
    carrier.carry_out((CashOut(account_id=ANNA, table_id="t1", amount=5), "c"))
    put_letter(backend, RAW)
    backend.append([((2, Lane.INTERACTIVE), "x"), ((2, Lane.INTERACTIVE), "y"), ((3, Lane.BULK), "z")])
    backend.lead("leader", 60_000)
    write(backend, ("ZADD", keys.FRONT_ENDS, 10**14, "f1"), ("ZADD", keys.FRONT_ENDS, 1, "gone"))
    StoreStops(backend).post([Stop(kind="Deposit", faults=3, of=9, error="e", worker="w1")])
    found = desk.overview.status()
    assert [(each.worker, each.partitions) for each in found.workers] == [("w1", PARTITIONS)]
    assert (found.unowned, found.front_ends, found.leader.name) == ([], ["f1"], "leader")
    assert [(each.lane, each.messages, each.oldest_partition) for each in found.lanes] == [
        ("interactive", 2, 2),
        ("bulk", 1, 3),
    ]
    assert (found.dead_letters.count, found.dead_letters.chips, found.dead_letters.oldest) == (1, 7, 2)
    assert [stop.kind for stop in found.stops] == ["Deposit"]
    supply = found.supply
    assert (supply.deposits, supply.withdrawals, supply.accounts, supply.in_play) == (50, 8, 47, -5)
    assert supply.difference == 0
    assert found.problems == ["worker w1 takes no Deposit: e", "1 dead letters wait"]
    write(backend, ("HINCRBY", keys.totals(1), "CHIPS|balances", 3))
    assert desk.overview.status().problems[0] == "the totals do not add up: +3 chips"


def test_accounts_are_listed_once_each_page_by_page(ground: Ground) -> None:
    """In every partition; those of one status are looked for as far as the list goes."""
    carrier, desk = Carrier(ground.backend()), desk_on(ground.backend())
    for partition in range(PARTITIONS):
        names = ids_in(partition)
        for _ in range(3 if partition != 2 else 0):
            carrier.carry_out((Deposit(account_id=next(names), amount=1), "d"))
    carrier.carry_out((FreezeAccount(account_id=id_in(3)), ""))
    for limit in (1, 2, 3, 4, 200):
        found: list[str] = []
        after = ""
        while not found or after:
            page = desk.overview.accounts(after, limit)
            found += [each.account_id for each in page.accounts]
            after = page.next
        assert len(found) == len(set(found)) == 9, limit
    frozen = desk.overview.accounts("", 1, "FROZEN")
    assert [(each.account_id, each.status) for each in frozen.accounts] == [(id_in(3), "FROZEN")]
    with pytest.raises(ValueError, match="no place"):
        desk.overview.accounts("x|y", 1)


def test_a_frozen_account_whose_ledger_is_broken_is_not_thawed(ground: Ground) -> None:
    """Its last entry is not the one that it names; the others are thawed."""
    backend = ground.backend()
    carrier = Carrier(ground.backend())
    for account_id in (ANNA, BERT):
        carrier.carry_out((Deposit(account_id=account_id, amount=1), "d"))
        carrier.carry_out((FreezeAccount(account_id=account_id), ""))
    write(backend, ("RPUSH", keys.ledger(1, ANNA, 0), "x y"))
    (broken,) = carrier.carry_out((UnfreezeAccount(account_id=ANNA), ""))
    assert (broken.outcome, broken.detail) == (
        Outcome.ACCOUNT_FROZEN,
        "checksum does not match the entry",
    )
    assert carrier.carry_out((UnfreezeAccount(account_id=BERT), ""))[0].ok
    refused, taken = (
        carrier.carry_out((Deposit(account_id=each, amount=1), "e"))[0] for each in (ANNA, BERT)
    )
    assert (refused.outcome, taken.balance) == (Outcome.ACCOUNT_FROZEN, 2)
    assert desk_on(backend).dead_letters.find(Wish()) == []
