"""Commands and batches over HTTP: taken for good before they are answered, looked up afterwards."""

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from uuid import uuid4

import pytest

from app.client import BalanceClient, PayoutLine, Refused
from app.client.calls import deposit
from app.domain.identifiers import partition_of
from app.storage import keys
from app.storage.backends.valkey import ValkeyBackend
from tests.support.clients import KINDS, client_of
from tests.support.service import RunningService
from tests.support.waiting import eventually
from tests.support.web import Answer, ask, balance_of, code_of, opened, post

LINES = ("Content-Type", "application/x-ndjson")


def submit(service: RunningService, key: str = "", **body: Any) -> Answer:
    return post(service, "/api/commands", body, key=key or uuid4().hex)


def done(service: RunningService, command_id: str) -> dict[str, Any]:
    """The command, when it is done."""

    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = ask(service, f"/api/commands/{command_id}", service.token).body
        return found if found["status"] == "done" else None

    return eventually(look)


def batch(
    service: RunningService, raw: bytes | Iterator[bytes], query: str = "", media: str = LINES[1]
) -> Answer:
    headers = [("Content-Type", media)]
    return ask(service, f"/api/batches{query}", service.token, "POST", raw=raw, headers=headers)


def lines_of(*items: dict[str, Any]) -> bytes:
    return "".join(json.dumps(item) + "\n" for item in items).encode()


def test_a_command_is_taken_and_done(service: RunningService) -> None:
    """202 with its id and where to look; then its answer."""
    account, key = f"p-{uuid4().hex}", uuid4().hex
    taken = submit(service, key, operation="Payout", accountId=account, amount=5, type="BONUS")
    command_id = taken.body["commandId"]
    assert (taken.status, taken.headers["location"]) == (202, f"/api/commands/{command_id}")
    state = done(service, command_id)
    assert (state["operation"], state["aggregateId"]) == ("Payout", account)
    answer = state["answer"]
    assert (answer["ok"], answer["type"], answer["amount"], answer["balanceAfter"]) == (True, "BONUS", 5, 5)
    assert answer["transactionId"] == command_id

    again = submit(service, key, operation="Payout", accountId=account, amount=5, type="BONUS")
    assert again.body == {"commandId": command_id, "status": "done"}
    assert again.headers["idempotent-replayed"] == "true"
    other = submit(service, key, operation="Payout", accountId=account, amount=6, type="BONUS")
    assert (other.status, code_of(other)) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert balance_of(service, account) == 5


def test_a_command_that_is_refused_is_done(service: RunningService) -> None:
    account = opened(service, 5)
    taken = submit(service, operation="Withdraw", accountId=account, amount=6)
    answer = done(service, taken.body["commandId"])["answer"]
    assert (answer["ok"], answer["error"]) == (False, "INSUFFICIENT_BALANCE")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"operation": "Reserve", "accountId": "a", "amount": 1},
        {"operation": ["Payout"], "accountId": "a", "amount": 1},
        {"operation": "Payout", "accountId": "a"},
        {"operation": "Payout", "accountId": "$house-001", "amount": 1},
        {"operation": "Payout", "accountId": "a", "amount": 1, "source": "s"},
        {"operation": "Deposit", "accountId": "a", "amount": 1},
    ],
)
def test_a_malformed_command_is_not_taken(service: RunningService, body: dict[str, Any]) -> None:
    assert submit(service, **body).status == 400


@pytest.mark.parametrize("command_id", ["x", "001-" + "a" * 26, "999-" + "a" * 26])
def test_an_unknown_command_is_not_found(service: RunningService, command_id: str) -> None:
    answer = ask(service, f"/api/commands/{command_id}", service.token)
    assert (answer.status, code_of(answer)) == (404, "NOT_FOUND")


def test_the_client_submits_and_looks_up(service: RunningService) -> None:
    """Any call that carries a key; over gRPC it is the same command as over HTTP."""
    account, key = f"p-{uuid4().hex}", uuid4().hex
    with BalanceClient(service.grpc) as client:
        taken = client.submit(deposit(account, 5, source="s", idempotency_key=key))
        again = client.submit(deposit(account, 5, source="s", idempotency_key=key))
        assert (again.command_id, again.replayed) == (taken.command_id, True)
        eventually(lambda: client.get_command(taken.command_id).answer)
        found = client.get_command(taken.command_id)
        assert found.answer is not None
        assert (found.status, found.answer.new_balance) == ("done", 5)
        paid = client.submit_payout(account, 7, reason="race")
        eventually(lambda: client.get_command(paid.command_id).answer)
        assert client.get_balance(account).balance == 12
    over_http = submit(service, key, operation="Deposit", accountId=account, amount=5, source="s")
    assert over_http.body == {"commandId": taken.command_id, "status": "done"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_client_sends_a_batch_and_looks_it_up(service: RunningService, kind: str) -> None:
    """One line cannot be paid, and says why; the batch is told whole, sent again, and is done."""
    account, batch_id = opened(service), uuid4().hex
    lines = [PayoutLine(account, n, reason="race") for n in range(1, 1001)]
    with client_of(kind, service.grpc) as client:
        with pytest.raises(Refused, match="INVALID_BATCH") as refused:
            client.submit_batch([*lines, PayoutLine("", 1)], batch_id=batch_id)
        assert [each["line"] for each in refused.value.answer["problems"]] == [1001]
        checked = client.submit_batch(lines, batch_id=batch_id, dry_run=True)
        assert (checked.batch_id, checked.sent) == (batch_id, 0)
        taken = client.within(60).submit_batch(lines, batch_id=batch_id, count=1000, total=500_500)
        assert (taken.items, taken.total, taken.sent) == (1000, 500_500, 1000)
        eventually(lambda: client.get_batch(batch_id, brief=True).finished)
        assert client.get_batch(batch_id).applied == 1000
        page = client.list_batch_items(batch_id, after_line=998)
        assert [(each.line, each.status) for each in page.items] == [(999, "applied"), (1000, "applied")]
        assert page.next_line == 0
        assert client.list_batch_items(batch_id, failed=True).items == ()
        assert client.submit_batch(lines, batch_id=batch_id) == client.get_batch(batch_id)
        assert not client.cancel_batch(batch_id).cancelled_at
        with pytest.raises(Refused, match="BATCH_NOT_FOUND"):
            client.get_batch("no-such-batch")
        assert client.get_balance(account).balance == 500_500


def test_a_batch_is_taken_and_paid(service: RunningService) -> None:
    """Answered when all of it is queued; looked up until it is finished; told line by line."""
    account, batch_id = opened(service), uuid4().hex
    raw = lines_of(*[{"account": account, "amount": n} for n in range(1, 301)])
    taken = batch(service, raw, f"?batchId={batch_id}&count=300&total={sum(range(301))}")
    assert (taken.status, taken.headers["location"]) == (202, f"/api/batches/{batch_id}")
    assert (taken.body["sent"], taken.body["submittedBy"]) == (300, "dev")

    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = ask(service, f"/api/batches/{batch_id}", service.token).body
        return found if found["finished"] else None

    assert eventually(look)["applied"] == 300
    page = ask(service, f"/api/batches/{batch_id}/items?after=298", service.token).body
    assert page == {"items": [{"line": n, "status": "applied"} for n in (299, 300)], "next": 0}
    assert balance_of(service, account) == sum(range(301))
    assert batch(service, raw, f"?batchId={batch_id}").body["applied"] == 300
    other = batch(service, lines_of({"account": account, "amount": 1}), f"?batchId={batch_id}")
    assert (other.status, code_of(other)) == (422, "BATCH_ID_REUSED")
    cancelled = ask(service, f"/api/batches/{batch_id}/cancel", service.token, "POST", raw=b"")
    assert cancelled.status == 200
    assert "cancelledAt" not in cancelled.body, "there was nothing left to stop"


def test_a_cancelled_batch_is_not_gone_on_with(service: RunningService) -> None:
    """
    Given a batch of which a front end has sent one chunk, and died
    If it is cancelled
    Expect that whoever submits it again is told.
    """
    account, batch_id = opened(service), uuid4().hex
    raw = lines_of(*[{"account": account, "amount": 1}] * 100)
    batch(service, raw, f"?batchId={batch_id}")
    eventually(lambda: balance_of(service, account) == 100)
    with closing(ValkeyBackend(service.redis_url)) as backend:
        sent = keys.sent_field(partition_of(account, 64))
        backend.call("HSET", keys.batch(partition_of(batch_id, 64), batch_id), sent, 32)
    cancelled = ask(service, f"/api/batches/{batch_id}/cancel", service.token, "POST", raw=b"")
    assert (cancelled.status, cancelled.body["sent"]) == (200, 32)
    late = batch(service, raw, f"?batchId={batch_id}")
    assert (late.status, code_of(late)) == (409, "BATCH_CANCELLED")
    assert balance_of(service, account) == 100


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        pytest.param("Content-Length: 10000", "{lines}", id="shorter than announced"),
        pytest.param("Transfer-Encoding: chunked", "{size:x}\r\n{lines}\r\n", id="without a last chunk"),
    ],
)
def test_a_batch_that_is_cut_off_is_not_paid(service: RunningService, framing: str, body: str) -> None:
    """
    Given a connection that breaks between two lines
    Expect nothing paid: the lines that came would be a batch of their own, and be paid again with the whole.
    """
    account, batch_id = opened(service), uuid4().hex
    lines = lines_of(*[{"account": account, "amount": 1}] * 3).decode()
    head = (
        f"POST /api/batches?batchId={batch_id} HTTP/1.1",
        "Host: balance",
        f"Authorization: Bearer {service.token}",
        f"Content-Type: {LINES[1]}",
        framing,
    )
    host, _, port = service.http.rpartition(":")
    with socket.create_connection((host, int(port))) as connection:
        sent = "\r\n".join((*head, "", body.format(size=len(lines), lines=lines)))
        connection.sendall(sent.encode())
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65_536):
            pass
    raw = lines_of({"account": account, "amount": 2})
    assert batch(service, raw, f"?batchId={batch_id}&count=1").status == 202, "its id is free"
    eventually(lambda: balance_of(service, account) == 2)


def test_wrong_lines_are_named_and_nothing_is_sent(service: RunningService) -> None:
    account, batch_id = opened(service), uuid4().hex
    good = {"account": account, "amount": 1}
    wrong = batch(service, lines_of(good, good | {"amount": 0}) + b"[]\n", f"?batchId={batch_id}")
    assert (wrong.status, code_of(wrong)) == (400, "INVALID_BATCH")
    assert "line 2: amount must be" in wrong.body["message"]
    assert "line 3: line must be a JSON object" in wrong.body["message"]
    for query in ("count=2", "total=2", "dryRun=perhaps", "batchId=a%20b", "x=1"):
        assert batch(service, lines_of(good), f"?{query}").status == 400
    checked = batch(service, lines_of(good), f"?batchId={batch_id}&dryRun=true")
    assert (checked.status, checked.body) == (200, {"batchId": batch_id, "items": 1, "total": 1})
    assert balance_of(service, account) == 0
    for path in (f"/api/batches/{batch_id}", f"/api/batches/{batch_id}/items", "/api/batches/%2e%2e"):
        assert ask(service, path, service.token).status == 404


@pytest.mark.parametrize("media", ["application/json", "text/csv", "application/x-ndjson; charset=latin1"])
def test_another_media_type_is_not_read(service: RunningService, media: str) -> None:
    assert batch(service, lines_of({"account": "a", "amount": 1}), media=media).status == 415


def test_a_batch_beyond_the_limit_is_refused_while_it_comes(service: RunningService) -> None:
    """64 MiB are counted while they are read, whatever was announced."""

    def just_beyond() -> Iterator[bytes]:
        for _ in range(64):
            yield b" " * 2**20
        yield b" "

    beyond = batch(service, just_beyond())
    assert (beyond.status, code_of(beyond)) == (413, "PAYLOAD_TOO_LARGE")


def test_a_line_without_an_end_is_wrong(service: RunningService) -> None:
    """It is not kept until it ends, and neither are lines without number."""
    for pieces, problem in (([b" " * 2**20] * 3, "line 1: line is longer"), ([b"\n" * 2**20] * 2, "lines")):
        answer = batch(service, iter(pieces))
        assert (answer.status, code_of(answer)) == (400, "INVALID_BATCH")
        assert problem in answer.body["message"]
