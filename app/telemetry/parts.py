"""What one process has of telemetry: counts where somebody can read them, traces where they are sent."""

import logging
from dataclasses import dataclass
from functools import cached_property

from prometheus_client.registry import Collector

from app.config import Settings
from app.services.ports import Store
from app.services.submission import CommandBus
from app.services.watching import UNMETERED, UNWATCHED, CallMeter, Watch
from app.telemetry import sharing
from app.telemetry.counting import CountingBus, CountingStore, RequestMeter, UnitMeter
from app.telemetry.metrics import Metrics
from app.telemetry.page import PageWhereFree

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Telemetry:
    """The telemetry of one process, begun once in its life. Without metrics nothing is wrapped."""

    metrics: Metrics | None = None

    @classmethod
    def begin(cls, settings: Settings, process: str) -> "Telemetry":
        """Begin to count where the settings say so, and to serve the page where they say that too."""
        folder = settings.metrics_dir
        if folder is None and not settings.serve_metrics:
            return cls()
        if folder is not None:
            sharing.share(folder, process)
        metrics = Metrics(process)
        if settings.serve_metrics:
            counts: Collector = sharing.SharedCounts(folder) if folder else metrics.registry
            PageWhereFree(settings.metrics_host, settings.metrics_port, counts).start()
        return cls(metrics)

    @property
    def calls(self) -> CallMeter:
        """Counts calls to the store."""
        return self.metrics or UNMETERED

    @property
    def middleware(self) -> list[UnitMeter]:
        """Dramatiq's middleware."""
        return [UnitMeter(self.metrics)] if self.metrics else []

    @cached_property
    def watch(self) -> Watch:
        """Watches requests."""
        return RequestMeter(self.metrics) if self.metrics else UNWATCHED

    def store(self, store: Store) -> Store:
        """The store, its commits counted."""
        return CountingStore(store, self.metrics) if self.metrics else store

    def bus(self, bus: CommandBus) -> CommandBus:
        """The bus, its answers timed."""
        return CountingBus(bus, self.metrics) if self.metrics else bus


NO_TELEMETRY = Telemetry()
