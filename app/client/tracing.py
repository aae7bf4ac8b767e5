"""A span for each call, where the caller's program uses OpenTelemetry; the service goes on with its trace.

Without OpenTelemetry there is nothing, and nothing has to be installed.
"""

from collections.abc import Iterator
from contextlib import contextmanager

try:
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError:
    TRACED = False
else:
    TRACED = True


@contextmanager
def span_of(method: str) -> Iterator[None]:
    """Around one call, all its attempts included."""
    if not TRACED:
        yield
        return
    tracer = trace.get_tracer("balance_client")
    kind = trace.SpanKind.CLIENT
    with tracer.start_as_current_span(
        method, kind=kind, attributes={"rpc.system": "grpc", "rpc.method": method}, record_exception=False
    ):
        yield


def headers() -> tuple[tuple[str, str], ...]:
    """What tells the service of the current trace; nothing when there is none."""
    carrier: dict[str, str] = {}
    if TRACED:
        TraceContextTextMapPropagator().inject(carrier)
    return tuple(carrier.items())
