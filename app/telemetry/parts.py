"""What one process has of telemetry: counts where somebody can read them, traces where they are sent."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING

from prometheus_client.registry import Collector

from app.config import Problem, Settings, SettingsError
from app.services.ports import Store
from app.services.submission import CommandBus
from app.services.watching import UNMETERED, UNWATCHED, CallMeter, Watch
from app.telemetry import sharing
from app.telemetry.counting import CountingBus, CountingStore, RequestMeter, UnitMeter
from app.telemetry.metrics import Metrics
from app.telemetry.page import PageWhereFree

if TYPE_CHECKING:
    from app.telemetry.traces import Tracing


@dataclass(frozen=True)
class Telemetry:
    """The telemetry of one process, begun once in its life. What is off wraps nothing and costs nothing."""

    metrics: Metrics | None = None
    tracing: "Tracing | None" = None

    @classmethod
    def begin(cls, settings: Settings, process: str) -> "Telemetry":
        """Begin to count and to trace, where the settings say so. Raises SettingsError."""
        return cls(_metrics(settings, process), _tracing(settings, process))

    @property
    def calls(self) -> CallMeter:
        """Counts calls to the store."""
        return self.metrics or UNMETERED

    @property
    def middleware(self) -> list[UnitMeter]:
        """Dramatiq's middleware."""
        return [UnitMeter(self.metrics)] if self.metrics else []

    @property
    def replied(self) -> Callable[[str, int], None] | None:
        """What a bus tells of answers to commands that have a trace."""
        return self.tracing.replied if self.tracing else None

    @cached_property
    def watch(self) -> Watch:
        """Watches requests."""
        watch = self.tracing.watch() if self.tracing else UNWATCHED
        return RequestMeter(self.metrics, watch) if self.metrics else watch

    def store(self, store: Store) -> Store:
        """The store, its commits counted and traced."""
        store = self.tracing.store(store) if self.tracing else store
        return CountingStore(store, self.metrics) if self.metrics else store

    def bus(self, bus: CommandBus) -> CommandBus:
        """The bus, its answers timed and traced."""
        bus = self.tracing.bus(bus) if self.tracing else bus
        return CountingBus(bus, self.metrics) if self.metrics else bus

    def close(self) -> None:
        """Send the last traces, for at most a moment."""
        if self.tracing:
            self.tracing.close()


NO_TELEMETRY = Telemetry()


def check_installed(settings: Settings) -> None:
    """Raise SettingsError where traces are wanted and nothing is there to make them."""
    if settings.otel_exporter_otlp_endpoint and not find_spec("opentelemetry"):
        problem = "traces need OpenTelemetry, which is not installed: pip install 'balance-service[otel]'"
        raise SettingsError([Problem(("OTEL_EXPORTER_OTLP_ENDPOINT",), problem)])


def _metrics(settings: Settings, process: str) -> Metrics | None:
    folder = settings.metrics_dir
    if folder is None and not settings.serve_metrics:
        return None
    if folder is not None:
        sharing.share(folder, process)
    metrics = Metrics(process)
    if settings.serve_metrics:
        counts: Collector = sharing.SharedCounts(folder) if folder else metrics.registry
        PageWhereFree(settings.metrics_host, settings.metrics_port, counts).start()
    return metrics


def _tracing(settings: Settings, process: str) -> "Tracing | None":
    if not settings.otel_exporter_otlp_endpoint:
        return None
    check_installed(settings)
    from app.telemetry.traces import Tracing  # noqa: PLC0415 - an extra, and slow to load

    return Tracing(
        settings.otel_exporter_otlp_endpoint, process, settings.otel_traces_percent, settings.log_accounts
    )
