"""The id of a call travels with its command: what a worker logs about it is found by its caller's word."""

import json
import re
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import grpc
import pytest

from app.rpc.gen import balance_pb2 as pb
from app.rpc.gen.balance_pb2_grpc import BalanceServiceStub
from app.services.queue import Lane
from app.storage import keys
from tests.support.deployment import Deployment, deployment
from tests.support.ports import free_port
from tests.support.tokens import SECRET, signed
from tests.support.waiting import eventually

PARTITIONS = 4
READY_SECONDS = 20.0


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Deployment]:
    """A store without workers: what is queued stays there."""
    with deployment(tmp_path, PARTITIONS) as found:
        yield found


def queued_ids(service: Deployment) -> set[str]:
    """The request ids in all queues."""
    backend = service.store.backend()
    queues = [keys.queue(partition, lane) for partition in range(PARTITIONS) for lane in Lane]
    entries = [fields[1] for queue in queues for _, fields in backend.call("XRANGE", queue, "-", "+")]
    return {found for entry in entries for found in re.findall(r'"requestId":"([^"]*)"', entry.decode())}


def test_the_id_of_a_call_by_grpc_is_queued(service: Deployment) -> None:
    """That which the caller gave; a call without one brings none."""
    service.front_end()
    with grpc.insecure_channel(service.address) as channel:
        grpc.channel_ready_future(channel).result(READY_SECONDS)
        stub = BalanceServiceStub(channel)
        deposit = pb.DepositRequest(account_id="anna", amount=1, idempotency_key="key")
        calls = [
            stub.Deposit.future(deposit, timeout=60, metadata=metadata)
            for metadata in (None, (("x-request-id", "by-grpc"),))
        ]
        assert eventually(lambda: queued_ids(service), READY_SECONDS) == {"by-grpc"}
        assert not any(call.done() for call in calls)


def test_the_id_of_a_request_by_http_is_queued(service: Deployment) -> None:
    """Of a command that somebody waits for, and of one that was submitted."""
    port = free_port()
    started = service.front_end("app.cli", "http", HTTP_PORT=port, JWT_HS256_SECRET=SECRET, LOG_LEVEL="info")
    eventually(lambda: "ASGI server listening" in started.log, READY_SECONDS)
    deposit = {"amount": 1, "source": "gateway"}
    payout = {"operation": "Payout", "accountId": "anna", "amount": 5, "type": "BONUS"}
    asked = {"waits": ("/api/accounts/anna/deposit", deposit), "submitted": ("/api/commands", payout)}
    connections = []
    for request_id, (path, body) in asked.items():
        connection = HTTPConnection(f"127.0.0.1:{port}")
        headers = {
            "Authorization": f"Bearer {signed(sub='gateway', scope='balance:service')}",
            "Content-Type": "application/json",
            "Idempotency-Key": "key",
            "X-Request-Id": request_id,
        }
        connection.request("POST", path, json.dumps(body), headers)
        connections.append(connection)
    eventually(lambda: queued_ids(service) == asked.keys(), READY_SECONDS)
    for connection in connections:
        connection.close()
