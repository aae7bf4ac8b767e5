"""`balance verify --findings`: what the audits have found, for people and as JSON."""

import json

import pytest
from click.testing import CliRunner, Result

from app.cli.verify import verify
from tests.support.audits import Auditing, Victim, changed_amount, write_half
from tests.support.books import Books
from tests.support.store import RealStore


def asked(store: RealStore, monkeypatch: pytest.MonkeyPatch, *options: str) -> Result:
    """The command's result on the store."""
    monkeypatch.setenv("REDIS_URL", store.url)
    return CliRunner().invoke(verify, ["--findings", *options])


def test_before_the_first_audit_nothing_is_known(
    real_store: RealStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so, and nothing is wrong."""
    result = asked(real_store, monkeypatch)
    assert result.exit_code == 0
    assert "verified last at no time yet" in result.output
    assert result.output.endswith("0 open, 0 gone.\n")


def test_a_finding_is_told_until_it_is_gone(real_store: RealStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Given an entry that was changed, and put back later
    Expect it told with its place, its values and the freezing, exit code 1; then as gone, exit code 0.
    """
    books, call = Books(real_store.backend()), real_store.backend().call
    auditing = Auditing(real_store.backend())
    write_half(books, ["victim"])
    write_half(books, ["victim"])
    victim = Victim(call, "victim")
    whole = victim.element(5)
    changed_amount(victim)
    auditing.audit()
    result = asked(real_store, monkeypatch)
    assert result.exit_code == 1
    assert f"ENTRY_ALTERED at {victim.ledger}\n  account victim, entry 5, expected {whole[:64].decode()}" in (
        result.output
    )
    assert "the account was frozen" in result.output
    assert "1 open, 0 gone." in result.output
    victim.put(5, whole)
    for _ in range(3):
        auditing.audit()
    result = asked(real_store, monkeypatch, "--json")
    assert result.exit_code == 0
    book = json.loads(result.output)
    assert (book["ok"], len(book["findings"]), book["summary"]["findings"]) == (True, 1, 0)
    assert book["findings"][0]["cleared"] > book["findings"][0]["firstSeen"]
    assert "gone since" in asked(real_store, monkeypatch).output


def test_a_store_of_another_service_is_no_book(
    real_store: RealStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2: it could not be read."""
    real_store.backend().call("FLUSHALL")
    result = asked(real_store, monkeypatch)
    assert result.exit_code == 2
    assert "never used" in result.output


def test_tables_that_give_what_they_do_not_have_are_named(
    real_store: RealStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By table, the largest first; nothing is wrong with the records."""
    Books(real_store.backend()).play()
    Auditing(real_store.backend()).audit()
    result = asked(real_store, monkeypatch)
    assert result.exit_code == 0
    assert "Table t1 has given 50 chips that were never brought there." in result.output
    book = json.loads(asked(real_store, monkeypatch, "--json").output)
    assert (book["deficits"], book["summary"]["tableDeficits"]) == ({"t1": 50}, 50)
