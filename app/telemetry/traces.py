"""Traces by OpenTelemetry, an extra: to be imported only where OTEL_EXPORTER_OTLP_ENDPOINT is set.

One trace leads from a call through front end, queue and worker to the commit and back. A span is handed to a
thread that sends them in batches; where it cannot keep up, spans are lost and calls never wait.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from app.domain.commands import Command
from app.domain.outcomes import Answer
from app.domain.state import State
from app.services.changes import Changes
from app.services.ports import CommitResult, Store, Wanted
from app.services.submission import DEFAULT_TIMEOUT_MS, CommandBus
from app.services.watching import Begun
from app.services.work import Delivery, Work
from app.telemetry.account_ids import AccountPolicy, shown

Attributes = dict[str, str | int]

_TRACEPARENT = "traceparent"
_EXPORT_SECONDS = 2.0
_FLUSH_SECONDS = 3.0
_EVERY_MS = 500
_FAILED = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
_SERVER_FAULT = 500

_propagator = TraceContextTextMapPropagator()


class Tracing:
    """The spans of one process, and where they go."""

    def __init__(self, endpoint: str, process: str, percent: int, accounts: AccountPolicy) -> None:
        exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=_EXPORT_SECONDS)
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": "balance", "balance.process": process}),
            sampler=ParentBased(TraceIdRatioBased(percent / 100)),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=_EVERY_MS))
        self.tracer = self._provider.get_tracer("balance")
        self._accounts = accounts

    def watch(self) -> "RequestTracer":
        """Makes spans of requests."""
        return RequestTracer(self)

    def store(self, store: Store) -> "TracingStore":
        """The store, with a worker's spans."""
        return TracingStore(store, self)

    def bus(self, bus: CommandBus) -> "TracingBus":
        """The bus, with a span for each command."""
        return TracingBus(bus, self)

    def begin(self, name: str, parent: str, began: int, attributes: Attributes | None = None) -> Span:
        """A span of that traceparent's trace, from a time on (ns)."""
        context = _propagator.extract({_TRACEPARENT: parent})
        return self.tracer.start_span(name, context, start_time=began, attributes=_told(attributes or {}))

    def account_of(self, command: Command | None) -> str:
        """The account that a command names, as it may be shown."""
        return shown(getattr(command, "account_id", ""), self._accounts)

    def replied(self, parent: str, written_at: int) -> None:
        """An answer has come that was written at that time (ms): the last span of a command."""
        now = time.time_ns()
        self.begin("reply", parent, min(written_at * 1_000_000, now)).end(now)

    def close(self) -> None:
        """Send what is left, as far as that takes no longer than a moment."""
        last = threading.Thread(target=self._provider.shutdown, daemon=True)
        last.start()
        last.join(_FLUSH_SECONDS)


class RequestTracer:
    """A Watch that makes each request of a front end a span, current for all that is done for it."""

    wants_trace = True

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing

    def begin(self, front_end: str, traceparent: str = "") -> Begun:
        """See Watch."""
        context = _propagator.extract({_TRACEPARENT: traceparent})
        attributes = {"rpc.system": "grpc"} if front_end == "grpc" else {}
        span = self._tracing.tracer.start_span(front_end, context, SpanKind.SERVER, attributes)
        return _Request(span, front_end)


class _Request:
    def __init__(self, span: Span, front_end: str) -> None:
        self._span = span
        self._by_grpc = front_end == "grpc"
        self._token = contexts.attach(trace.set_span_in_context(span))

    def end(self, method: str, status: str) -> None:
        span = self._span
        span.update_name(method)
        if self._by_grpc:
            span.set_attributes({"rpc.method": method, "rpc.response.status_code": status})
            failed = status in _FAILED
        else:
            verb, _, route = method.partition(" ")
            span.set_attributes(
                {"http.request.method": verb, "http.route": route, "http.response.status_code": int(status)}
            )
            failed = int(status) >= _SERVER_FAULT
        if failed:
            span.set_status(Status(StatusCode.ERROR))
        contexts.detach(self._token)
        span.end()


class TracingBus:
    """A CommandBus whose commands carry the trace of the call that they are for."""

    def __init__(self, bus: CommandBus, tracing: Tracing) -> None:
        self._bus = bus
        self._tracing = tracing

    def admit(self) -> None:
        """See CommandBus."""
        self._bus.admit()

    @property
    def paused(self) -> bool:
        """See CommandBus."""
        return self._bus.paused

    async def execute(
        self,
        command: Command,
        *,
        key: str = "",
        timeout_ms: int = DEFAULT_TIMEOUT_MS,
        trace: str = "",
        by_ops: bool = False,
    ) -> Answer:
        """See CommandBus. There is no await before the wrapped bus's own."""
        attributes: Attributes = {
            "balance.operation": command.kind,
            "balance.account": self._tracing.account_of(command),
        }
        with _span(self._tracing, f"submit {command.kind}", attributes) as span:
            if span.is_recording():
                carrier: dict[str, str] = {}
                _propagator.inject(carrier)
                trace = carrier[_TRACEPARENT]
            answer = await self._bus.execute(
                command, key=key, timeout_ms=timeout_ms, trace=trace, by_ops=by_ops
            )
            span.set_attribute("balance.outcome", answer.outcome.value)
            return answer


class TracingStore:
    """A Store that makes the spans of a worker, when a commit has answered a command that has a trace.

    Load, decision and commit are those of the whole unit; each trace shows them as its own.
    """

    def __init__(self, store: Store, tracing: Tracing) -> None:
        self._store = store
        self._tracing = tracing
        self._began = 0
        self._loaded = 0

    def load(self, wanted: Wanted, state: State) -> int:
        """See Store."""
        began = time.time_ns()
        now = self._store.load(wanted, state)
        self._began = self._began or began
        self._loaded = time.time_ns()
        return now

    def commit(self, changes: Changes, deliveries: list[Delivery], now: int) -> CommitResult:
        """See Store."""
        committing = time.time_ns()
        began, self._began = self._began or committing, 0
        result = self._store.commit(changes, deliveries, now)
        if result.applied:
            times = began, max(self._loaded, began), committing, time.time_ns()
            for delivery in deliveries:
                if delivery.finished:
                    for work in delivery.works:
                        if work.trace:
                            self._trace(work, times)
        return result

    def mark_trying(self, work: Work) -> int | None:
        """See Store."""
        return self._store.mark_trying(work)

    def _trace(self, work: Work, times: tuple[int, int, int, int]) -> None:
        began, loaded, committing, committed = times
        begin, delivery = self._tracing.begin, work.delivery
        arrived = min(delivery.arrived_at * 1_000_000, began)
        begin("queue", work.trace, arrived, {"balance.lane": delivery.lane}).end(began)
        worker = begin("worker", work.trace, began, self._of(work))
        inside = trace.set_span_in_context(worker)
        steps = (("load", began, loaded), ("decide", loaded, committing), ("commit", committing, committed))
        for name, start, end in steps:
            self._tracing.tracer.start_span(name, inside, start_time=start).end(end)
        worker.end(committed)

    def _of(self, work: Work) -> Attributes:
        attributes: Attributes = {"balance.partition": work.delivery.partition}
        if work.answer is not None:
            attributes["balance.outcome"] = work.answer.outcome.value
        if work.request is not None:
            attributes["balance.operation"] = work.request.command.kind
            attributes["balance.command_id"] = work.request.command_id
            attributes["balance.account"] = self._tracing.account_of(work.request.command)
        return attributes


@contextmanager
def _span(tracing: Tracing, name: str, attributes: Attributes) -> Iterator[Span]:
    """A span of the current trace. What an error says stays out of it: it may quote what a caller sent."""
    with tracing.tracer.start_as_current_span(
        name, attributes=_told(attributes), record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield span
        except Exception as error:
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(Status(StatusCode.ERROR))
            raise


def _told(attributes: Attributes) -> Attributes:
    return {name: value for name, value in attributes.items() if value != ""}
