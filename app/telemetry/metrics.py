"""The metrics that a process counts itself, as objects of prometheus_client."""

import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from app.domain.commands import KINDS
from app.domain.outcomes import Outcome
from app.services.faults import DeadlinePassed, Overloaded, Unavailable
from app.services.queue import Lane
from app.telemetry import catalogue
from app.telemetry.catalogue import Described

WAITS = frozenset({"XREAD", "XREADGROUP"})
"""Calls that wait for something to come: their time says nothing."""


class Metrics:
    """What one process counts. `labelled` is quick: children are looked up once.

    Where the values live, in this process or in files that all processes share, is settled before one of
    these is made (`app.telemetry.sharing`).
    """

    def __init__(self, process: str, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._metrics = {described: self._make(described) for described in catalogue.COUNTED}
        self._children: dict[tuple[Any, ...], Any] = {}
        for described in catalogue.COUNTED:
            if not described.labels:
                self.of(described)
        for kind in KINDS:  # there from the first scrape on: an increase from nothing is none
            self.of(catalogue.OPERATIONS, kind, Outcome.OK)
            self.of(catalogue.OPERATIONS, kind, Outcome.DEAD_LETTERED)
            self.of(catalogue.LATENCY, kind)
            self.of(catalogue.REPLAYS, kind)
        for lane in Lane:
            self.of(catalogue.QUEUE_WAIT, lane)
            self.of(catalogue.MESSAGES, lane)
        for result in ("applied", "conflict", "fenced", "refused", "unknown"):
            self.of(catalogue.COMMITS, result)
        for result in ("refused", "away"):
            self.of(catalogue.STORE_ERRORS, result)
        for reason in (Overloaded, Unavailable, DeadlinePassed):
            self.of(catalogue.BUS_REFUSALS, reason.__name__)
        self.of(catalogue.PROCESSES, process).set(1)

    def of(self, described: Described, *labels: str) -> Any:
        """The counter, gauge or histogram with these labels."""
        child = self._children.get((described.name, *labels))
        if child is None:
            metric = self._metrics[described]
            child = metric.labels(*labels) if labels else metric
            self._children[described.name, *labels] = child
        return child

    def store_call(self, call: str, result: str, seconds: float) -> None:
        """See CallMeter."""
        if result != "ok":
            self.of(catalogue.STORE_ERRORS, result).inc()
        if call not in WAITS:
            self.of(catalogue.STORE_SECONDS, call).observe(seconds)

    def _make(self, described: Described) -> MetricWrapperBase:
        given = (described.name, described.meaning, described.labels)
        if described.kind == "counter":
            return Counter(*given, registry=self.registry)
        if described.kind == "gauge":
            return Gauge(*given, registry=self.registry, multiprocess_mode="livesum")
        return Histogram(*given, registry=self.registry, buckets=described.buckets)


class Stopwatch:
    """Seconds since it was made."""

    __slots__ = ("_began",)

    def __init__(self) -> None:
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began
