"""`balance payouts` as its callers use it: right files, wrong files, failed lines, cancelled batches."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from app.domain.identifiers import partition_of
from app.storage import keys
from app.storage.backends.valkey import ValkeyBackend
from tests.support.service import RunningService, balance
from tests.support.waiting import eventually
from tests.support.web import balance_of, opened

PARTITIONS = 64


@pytest.fixture
def backend(service: RunningService) -> Iterator[ValkeyBackend]:
    """The service's own store, for what no caller can do."""
    with closing(ValkeyBackend(service.redis_url)) as found:
        yield found


def file_of(path: Path, *lines: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def payouts(service: RunningService, *arguments: object) -> tuple[int, Any, str]:
    """Exit code, the object printed (or None), and what was said beside it."""
    ended = balance(service, "payouts", *map(str, arguments), "--json")
    return ended.returncode, json.loads(ended.stdout) if ended.stdout else None, ended.stderr


def test_a_file_is_paid_once(service: RunningService, tmp_path: Path) -> None:
    """
    Given a file of payouts, by CSV, to accounts of which some do not exist
    If it is submitted, twice
    Expect them paid once, and the second time all told as paid before.
    """
    old, new = opened(service, 10), f"new-{uuid4().hex}"
    file = tmp_path / "payroll.csv"
    file.write_text(f"account,amount,type,metadata\n{old},5,BONUS,weekly\n{new},7,,\n{old},6,,\n")
    code, told, _ = payouts(service, "submit", file, "--count", 3, "--total", 18)
    assert code == 0
    counts = {"items": 3, "applied": 3, "replayed": 0, "refused": 0, "parked": 0, "total": 18}
    assert told == {"batchId": told["batchId"], **counts}
    assert payouts(service, "submit", file)[:2] == (0, told | {"applied": 0, "replayed": 3})
    assert payouts(service, "status", told["batchId"])[:2] == (0, told)
    assert (balance_of(service, old), balance_of(service, new)) == (21, 7)


def test_lines_of_any_allowed_length_are_paid(service: RunningService, tmp_path: Path) -> None:
    """Not many of these fit one message of gRPC."""
    account, prize = opened(service), "\N{CJK UNIFIED IDEOGRAPH-5956}" * 250
    line = {"account": account, "amount": 1, "reason": prize}
    file = file_of(tmp_path / "f", *({**line, "key": f"{prize}{n}"} for n in range(150)))
    code, told, said = payouts(service, "submit", file)
    assert (code, told and told["applied"]) == (0, 150), said
    assert balance_of(service, account) == 150


def test_nothing_is_sent_of_a_file_with_a_wrong_line(service: RunningService, tmp_path: Path) -> None:
    """Each is named with its field; the right ones are not paid either."""
    account = opened(service)
    good = {"account": account, "amount": 5}
    file = file_of(tmp_path / "f", good, good | {"amount": 0}, good, good | {"account": "a b"})
    code, told, said = payouts(service, "submit", file, "--batch-id", uuid4().hex)
    assert (code, told) == (2, None)
    assert "line 2: amount must be a whole number" in said
    assert "line 4: account must match" in said
    assert "nothing was sent" in said
    for options in (("--count", 2), ("--total", 9)):
        assert payouts(service, "submit", file_of(tmp_path / "g", good), *options)[0] == 2
    assert balance_of(service, account) == 0


def test_another_file_under_an_id_is_refused(service: RunningService, tmp_path: Path) -> None:
    account, batch_id = opened(service), uuid4().hex
    first = file_of(tmp_path / "first", {"account": account, "amount": 5})
    other = file_of(tmp_path / "other", {"account": account, "amount": 6})
    assert payouts(service, "submit", first, "--batch-id", batch_id)[0] == 0
    code, told, said = payouts(service, "submit", other, "--batch-id", batch_id)
    assert (code, told) == (2, None)
    assert "BATCH_ID_REUSED" in said
    assert balance_of(service, account) == 5


def test_a_dry_run_pays_nothing(service: RunningService, tmp_path: Path) -> None:
    account = opened(service)
    file = file_of(tmp_path / "f", {"account": account, "amount": 5})
    code, told, _ = payouts(service, "submit", file, "--dry-run")
    assert (code, told["items"], told["applied"], told["total"]) == (0, 1, 0, 5)
    assert payouts(service, "status", told["batchId"])[0] == 2
    assert balance_of(service, account) == 0


def test_all_or_nothing(service: RunningService, tmp_path: Path) -> None:
    """
    Given lines of one account, of which one has no room for its chips
    Expect none paid when they are to be paid together; and lines of several partitions refused as such.
    """
    account, other = opened(service, 1), opened(service, 2**53 - 1)
    fits = file_of(tmp_path / "fits", {"account": account, "amount": 5}, {"account": account, "amount": 6})
    code, told, _ = payouts(service, "submit", fits, "--all-or-nothing")
    assert (code, told["applied"], balance_of(service, account)) == (0, 2, 12)
    too_much = file_of(
        tmp_path / "f", {"account": account, "amount": 5}, {"account": account, "amount": 2**53 - 7}
    )
    code, told, _ = payouts(service, "submit", too_much, "--all-or-nothing")
    assert (code, told["refused"], balance_of(service, account)) == (1, 2, 12)
    apart = file_of(tmp_path / "apart", *({"account": f"{other}-{n}", "amount": 1} for n in range(9)))
    code, told, said = payouts(service, "submit", apart, "--all-or-nothing")
    assert (code, told) == (2, None)
    assert "needs accounts of one partition" in said


def test_who_does_not_wait_asks_later(service: RunningService, tmp_path: Path) -> None:
    account = opened(service)
    file = file_of(tmp_path / "f", *[{"account": account, "amount": 1}] * 300)
    code, told, _ = payouts(service, "submit", file, "--no-wait")
    assert (code, told["items"]) == (0, 300)
    eventually(lambda: payouts(service, "status", told["batchId"])[1]["applied"] == 300)


def test_what_was_not_paid_is_told_and_can_be_submitted_again(
    service: RunningService, backend: ValkeyBackend, tmp_path: Path
) -> None:
    """
    Given an account that is frozen, one whose record cannot be read, and one that is well
    Expect the first refused, the second parked, and a file of both that pays once when they are mended.
    """
    frozen, broken, well = (opened(service, 1) for _ in range(3))
    lines = [{"account": account, "amount": 5, "reason": "race"} for account in (frozen, broken, well)]
    keys_of = {name: keys.account(partition_of(name, PARTITIONS), name) for name in (frozen, broken)}
    (updated_at,) = backend.call("HMGET", keys_of[broken], "updatedAt")
    backend.call("HSET", keys_of[frozen], "status", "FROZEN")
    backend.call("HSET", keys_of[broken], "updatedAt", "")
    try:
        code, told, said = payouts(service, "submit", file_of(tmp_path / "f", *lines))
    finally:
        backend.call("HSET", keys_of[frozen], "status", "ACTIVE")
        backend.call("HSET", keys_of[broken], "updatedAt", updated_at)
    batch_id = told["batchId"]
    assert code == 1
    assert (told["applied"], told["refused"], told["parked"]) == (1, 1, 1)
    assert f"status {batch_id} --failed" in said

    failed, items = tmp_path / "failed.jsonl", tmp_path / "items.jsonl"
    code, _, _ = payouts(service, "status", batch_id, "--failed", failed, "--items", items)
    assert code == 1
    found = [json.loads(line) for line in failed.read_text().splitlines()]
    assert [(row["account"], row["amount"], row["key"]) for row in found] == [
        (frozen, 5, f"{batch_id}#1"),
        (broken, 5, f"{batch_id}#2"),
    ]
    results = [json.loads(line) for line in items.read_text().splitlines()]
    assert [row["status"] for row in results] == ["refused", "parked", "applied"]
    assert results[0]["error"] == "ACCOUNT_FROZEN"
    assert results[1]["deadLetterId"]

    # What is parked stays so, until ops have seen to it: the same key, so nothing is paid beside it.
    code, told, _ = payouts(service, "submit", failed)
    assert (code, told["applied"], told["parked"]) == (1, 1, 1)
    assert [balance_of(service, account) for account in (frozen, broken, well)] == [6, 1, 6]

    # Once they have replayed it, the batch knows.
    letter = results[1]["deadLetterId"]
    replayed = balance(service, "dead-letters", "replay", letter, "--reason", "mended")
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    code, told, _ = payouts(service, "status", batch_id)
    assert (code, told["applied"], told["refused"], told["parked"]) == (1, 2, 1, 0)
    assert balance_of(service, broken) == 6


def test_failed_lines_come_as_csv_too(service: RunningService, tmp_path: Path) -> None:
    """Whatever the first file was."""
    account = opened(service, 2**53 - 1)
    file = file_of(tmp_path / "f", {"account": account, "amount": 5, "key": f"k,{uuid4().hex}"})
    code, told, _ = payouts(service, "submit", file)
    assert (code, told["refused"]) == (1, 1)
    failed = tmp_path / "failed.csv"
    payouts(service, "status", told["batchId"], "--failed", failed)
    code, again, _ = payouts(service, "submit", failed)
    assert (code, again["refused"], again["total"]) == (1, 1, 5)


def test_a_cancelled_batch_stays_cancelled(
    service: RunningService, backend: ValkeyBackend, tmp_path: Path
) -> None:
    """
    Given a batch of which one chunk is sent
    If it is cancelled
    Expect that submitting it again sends nothing more, and says so.
    """
    account, batch_id = opened(service), uuid4().hex
    lines = [{"account": account, "amount": 1}] * 200
    file = file_of(tmp_path / "f", *lines)
    # Standing in for a client that died: what it had opened, and not sent.
    payouts(service, "submit", file, "--batch-id", batch_id)
    manifest = keys.batch(partition_of(batch_id, PARTITIONS), batch_id)
    backend.call("HSET", manifest, keys.sent_field(partition_of(account, PARTITIONS)), 128)
    assert payouts(service, "cancel", batch_id)[0] == 0
    code, told, _ = payouts(service, "submit", file, "--batch-id", batch_id)
    assert (code, told["items"]) == (1, 200)
    assert payouts(service, "cancel", batch_id)[0] == 0
    assert payouts(service, "cancel", uuid4().hex)[0] == 2
    assert balance_of(service, account) == 200


def test_a_service_that_is_not_there_is_said_to_be_away(tmp_path: Path, service: RunningService) -> None:
    file = file_of(tmp_path / "f", {"account": "a", "amount": 1})
    code, told, said = payouts(service, "submit", file, "--target", "127.0.0.1:1")
    assert (code, told) == (2, None)
    assert "no service answers" in said
