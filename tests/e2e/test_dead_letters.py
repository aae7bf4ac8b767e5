"""Broken code, mended code, and ops in between: with real processes, by HTTP and on the command line."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.operations import Operated, operated
from tests.support.waiting import eventually
from tests.support.web import code_of

UNLUCKY = [f"unlucky-{number}" for number in range(6)]
STOPPING = {"FAULT_WINDOW_COMMANDS": "10", "FAULT_LIMIT_PERCENT": "30"}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Operated]:
    """A service without a worker, and Olga of ops."""
    with operated(tmp_path) as found:
        yield found


def test_what_a_fault_has_parked_is_replayed_once_when_the_fault_is_mended(service: Operated) -> None:
    """
    Given code to which some deposits are a fault
    If ops look at what it parked, replay one too early, mend the code, make a dry run, replay all, and again
    Expect every deposit once, callers who retry to be answered, and the ops log to tell the story unbroken.
    """
    # Given
    broken = service.broken_worker(*UNLUCKY)
    service.until_ready()
    for number, account_id in enumerate(UNLUCKY):
        answer = service.deposit(account_id, f"key-{number}", 10 + number)
        assert (answer.status, code_of(answer)) == (500, "DEAD_LETTERED")
    assert service.deposit("lucky", "key").status == 200
    # If
    found = service.told("dead-letters", "list", "--limit", "2")
    assert (found["total"], found["chips"], len(found["deadLetters"])) == (6, 75, 2)
    (cause,) = found["causes"]
    assert (cause["kind"], cause["error"], cause["count"]) == ("Deposit", "ZeroDivisionError: canary", 6)
    first = found["deadLetters"][0]["deadLetterId"]
    shown = service.told("dead-letters", "show", first)
    assert (shown["accountId"], shown["key"], shown["attempts"]) == (UNLUCKY[0], "key-0", 2)
    assert '"kind":"Deposit"' in shown["raw"]
    early = service.told("dead-letters", "replay", first, "--reason", "hoping", exit_code=1)
    assert early["counts"] == {"PARKED": 1}
    broken.stop()
    service.deployed.worker()
    service.until_ready()
    foreseen = service.told("dead-letters", "replay", "--all", "--reason", "mended", "--dry-run")
    assert (foreseen["counts"], foreseen["dryRun"]) == ({"APPLIED": 6}, True)
    assert [service.balance_of(each) for each in UNLUCKY] == [0] * 6
    replayed = service.told("dead-letters", "replay", "--all", "--kind", "Deposit", "--reason", "mended")
    again = service.told("dead-letters", "replay", first, "--reason", "to be sure")
    rest = service.told("dead-letters", "replay", "--all", "--reason", "to be sure")
    # Expect
    assert replayed["counts"] == {"APPLIED": 6}
    assert (again["counts"], rest["counts"]) == ({"CLOSED": 1}, {})
    for number, account_id in enumerate(UNLUCKY):
        retry = service.deposit(account_id, f"key-{number}", 10 + number)
        assert (retry.status, retry.headers["idempotent-replayed"]) == (200, "true")
        assert service.balance_of(account_id) == 10 + number
    closed = service.told("dead-letters", "show", first)
    assert [each["outcome"] for each in closed["replays"]] == ["FAULT", "OK"]
    assert (closed["closed"], closed["closedBy"], closed["closedReason"]) == ("REPLAYED", "olga", "mended")
    assert service.told("ops", "log", "--verify")["ok"]
    lines = service.told("ops", "log", "--limit", "200")["lines"][::-1]
    assert {line["who"] for line in lines} == {"olga"}
    of_the_first = [(line["why"], line["outcome"]) for line in lines if first in line["subjects"]]
    assert of_the_first[:2] == [("hoping", "QUEUED"), ("hoping", "PARKED FAULT")]
    assert of_the_first[2:] == [("mended", "QUEUED"), ("mended", "APPLIED")]
    assert service.deployed.verify().returncode == 0


def test_broken_code_is_stopped_before_it_fills_the_dead_letters(service: Operated) -> None:
    """
    Given a worker whose code breaks every deposit to some accounts
    If more of them come than its limit allows
    Expect it to leave the rest queued and to say so, other commands to pass, replays to be refused unless
    forced, and everything to go on by itself with mended code.
    """
    # Given
    broken = service.broken_worker(*UNLUCKY, **STOPPING)
    service.until_ready()
    # If
    answers = [service.deposit(each, "k") for each in UNLUCKY[:3]]
    assert [answer.status for answer in answers] == [500] * 3
    service.ask_and_go(UNLUCKY[3], "k")
    # Expect
    status = eventually(lambda: found if (found := service.look("status"))["stops"] else None)
    (stop,) = status["stops"]
    assert (stop["kind"], stop["faults"], stop["error"]) == ("Deposit", 4, "ZeroDivisionError: canary")
    assert status["deadLetters"]["count"] == 3
    assert any("takes no Deposit" in problem for problem in status["problems"])
    letters = [each["deadLetterId"] for each in service.look("dead-letters")["deadLetters"]]
    refused = service.act("dead-letters/replay", ids=letters)["results"]
    assert [each["result"] for each in refused] == ["STOPPED"] * 3
    cleared = service.told("stops", "clear", "Deposit", "--reason", "a try")
    assert [each["kind"] for each in cleared["stops"]] == ["Deposit"]
    eventually(lambda: service.deposit("lucky", "k").status == 200, within_seconds=20)
    broken.stop()
    service.deployed.worker()
    service.until_ready()
    replayed = service.act("dead-letters/replay", ids=letters)["results"]
    assert [each["result"] for each in replayed] == ["APPLIED"] * 3
    assert [service.balance_of(each) for each in UNLUCKY[:3]] == [10] * 3
    assert service.look("status")["stops"] == []
    assert service.deployed.verify().returncode == 0
