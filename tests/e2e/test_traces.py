"""Traces through real processes: one call, one trace, from the caller to the commit and back."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import grpc
import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from app.cli.target import HttpConnection
from app.client import BalanceClient
from app.rpc.gen import balance_pb2 as pb
from app.rpc.gen.balance_pb2_grpc import BalanceServiceStub
from tests.support.otlp import ReceivedSpan, Receiver, receiver
from tests.support.service import RunningService, running_service
from tests.support.waiting import eventually

PLAYER = "canary-player"
WORKED = ("worker queue", "worker worker", "worker load", "worker decide", "worker commit")
RESERVED = (
    "client seat a player",
    "client ReserveForBuyIn",
    "grpc ReserveForBuyIn",
    "grpc submit Reserve",
    *WORKED,
    "grpc reply",
)


@dataclass(frozen=True)
class Traced:
    """A service whose spans arrive here, beside the caller's own."""

    service: RunningService
    receiver: Receiver


@contextmanager
def poker_service(service: RunningService) -> Iterator[BalanceServiceStub]:
    """A caller without spans of its own, who asks once."""
    with grpc.insecure_channel(service.grpc) as channel:
        yield BalanceServiceStub(channel)


def deposit(stub: BalanceServiceStub, number: int) -> None:
    request = pb.DepositRequest(account_id="patient", amount=1, idempotency_key=f"{number}")
    assert stub.Deposit(request, timeout=20).ok


@pytest.fixture(scope="module")
def traced() -> Iterator[Traced]:
    """A service that sends its spans to this process and hides its players; and a caller who sends too."""
    with receiver() as found:
        provider = TracerProvider(resource=Resource.create({"balance.process": "client"}))
        provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{found.endpoint}/v1/traces")))
        trace.set_tracer_provider(provider)
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": found.endpoint, "LOG_ACCOUNTS": "hashed"}
        with running_service(**environ) as service:
            yield Traced(service, found)
        provider.shutdown()


def spans_of(traced: Traced, trace_id: str, names: tuple[str, ...]) -> dict[str, ReceivedSpan]:
    """The spans of the trace by process and name, once all of these have arrived, each once."""

    def found() -> list[str]:
        return sorted(f"{each.process} {each.name}" for each in traced.receiver.of_trace(trace_id))

    eventually(lambda: set(found()) >= set(names), within_seconds=20)
    assert found() == sorted(names)
    return {f"{each.process} {each.name}": each for each in traced.receiver.of_trace(trace_id)}


def test_one_trace_shows_the_way_of_a_reservation(traced: Traced) -> None:
    """Given a caller's span, Expect client, front end, queue, worker and reply, each inside its cause."""
    with BalanceClient(traced.service.grpc) as client:
        client.deposit(PLAYER, 1_000)
        with trace.get_tracer("test").start_as_current_span("seat a player") as caller:
            client.reserve(PLAYER, "t1", 400)
    spans = spans_of(traced, f"{caller.get_span_context().trace_id:032x}", RESERVED)
    called, served, submitted = (spans[name] for name in RESERVED[1:4])
    queued, worker, load, decide, commit = (spans[name] for name in WORKED)
    assert [called.parent, served.parent] == [spans[RESERVED[0]].span_id, called.span_id]
    assert submitted.parent == served.span_id
    assert {queued.parent, worker.parent, spans["grpc reply"].parent} == {submitted.span_id}
    assert {load.parent, decide.parent, commit.parent} == {worker.span_id}
    assert (queued.end, load.end, decide.end) == (load.start, decide.start, commit.start)
    assert (worker.start, worker.end) == (load.start, commit.end)
    assert called.start <= served.start <= submitted.start <= load.start <= decide.start <= commit.start
    assert commit.start <= spans["grpc reply"].end <= submitted.end
    assert worker.attributes["balance.outcome"] == submitted.attributes["balance.outcome"] == "OK"
    assert worker.attributes["balance.operation"] == "Reserve"
    assert served.attributes["rpc.response.status_code"] == "OK"


def test_a_trace_begins_at_the_service_for_callers_without_one(traced: Traced) -> None:
    """A request by HTTP is named by its route, which has no id in it."""
    connection = HttpConnection(traced.service.http, None, 20)
    connection.request(
        "POST",
        f"/api/accounts/{PLAYER}/deposit",
        '{"amount": 5, "source": "test"}',
        {
            "Authorization": f"Bearer {traced.service.token}",
            "Content-Type": "application/json",
            "Idempotency-Key": "traced",
        },
    )
    assert connection.getresponse().status == 200
    connection.close()
    route = "POST /api/accounts/{account_id}/deposit"
    eventually(lambda: any(each.name == route for each in traced.receiver.spans), within_seconds=20)
    root = next(each for each in traced.receiver.spans if each.name == route)
    assert (root.parent, root.process) == ("", "http")
    assert root.attributes["http.response.status_code"] == 200
    spans_of(traced, root.trace_id, (f"http {route}", "http submit Deposit", *WORKED, "http reply"))


def test_a_receiver_that_hangs_holds_up_no_call(traced: Traced) -> None:
    """Given spans that nobody takes, Expect each call to be answered; traces come again when it does."""
    with poker_service(traced.service) as stub:
        traced.receiver.answers.clear()
        for number in range(200):
            deposit(stub, number)
        traced.receiver.answers.set()
        before = len(traced.receiver.spans)

        def again() -> bool:
            deposit(stub, 1_000)
            return len(traced.receiver.spans) > before

        eventually(again, within_seconds=30)


def test_players_are_named_as_the_setting_says(traced: Traced) -> None:
    """Given LOG_ACCOUNTS=hashed, Expect hashes in all processes, and the id itself nowhere."""
    with BalanceClient(traced.service.grpc) as client:
        client.deposit(PLAYER, 1)
    eventually(lambda: len(traced.receiver.spans) > 8, within_seconds=20)
    told = {
        each.attributes["balance.account"]
        for each in traced.receiver.spans
        if "balance.account" in each.attributes
    }
    assert told
    assert all(account.startswith("sha256:") for account in told)
    assert PLAYER not in str(traced.receiver.spans)
