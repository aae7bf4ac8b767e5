"""An OTLP receiver in this process: keeps every span that is sent to it over HTTP."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class ReceivedSpan:
    """One span. Ids in hex; times in ns since the epoch."""

    name: str
    process: str
    trace_id: str
    span_id: str
    parent: str
    start: int
    end: int
    attributes: dict[str, Any]


class Receiver:
    """Where spans arrive, and those that have."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.answers = threading.Event()  # while it is not set, whoever sends waits
        self.answers.set()
        self._lock = threading.Lock()
        self._spans: list[ReceivedSpan] = []

    def of_trace(self, trace_id: str) -> list[ReceivedSpan]:
        """The spans of one trace, by their start."""
        with self._lock:
            return sorted(
                (each for each in self._spans if each.trace_id == trace_id), key=lambda each: each.start
            )

    @property
    def spans(self) -> list[ReceivedSpan]:
        with self._lock:
            return list(self._spans)

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        with self._lock:
            for resource in request.resource_spans:
                process = _values(resource.resource.attributes).get("balance.process", "")
                for scope in resource.scope_spans:
                    self._spans += [_received(span, process) for span in scope.spans]


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A receiver on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.answers.wait()
            found.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Receiver(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield found
    finally:
        found.answers.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _received(span: Any, process: str) -> ReceivedSpan:
    return ReceivedSpan(
        name=span.name,
        process=process,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        attributes=_values(span.attributes),
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
