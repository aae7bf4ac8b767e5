"""The part of the metrics page that is read from the store when it is asked for."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from math import inf

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.services.facts import Facts, StoreFacts
from app.services.verification import ACCOUNTS, BALANCES, ENTRIES, HELD_CHIPS, HOUSE, IN_PLAY, IN_POTS
from app.telemetry import catalogue
from app.telemetry.catalogue import Described

KEPT_SECONDS = 1.0
"""How long a look at the store serves all who ask: the store's work does not grow with them."""

Row = tuple[Described, tuple[str, ...], float]
_log = logging.getLogger(__name__)


class StoreCollector(Collector):
    """What the store says now. While it is away, that alone: `balance_store_up` 0."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._lock = threading.Lock()
        self._looked_at = -KEPT_SECONDS
        self._rows: list[Row] = []
        self._said = ""

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Metric] = {}
        for described, labels, value in self._look():
            family = families.get(described.name)
            if family is None:
                family = families[described.name] = _family(described)
            family.add_metric(list(labels), value)  # type: ignore[attr-defined]
        yield from families.values()

    def _look(self) -> list[Row]:
        with self._lock:
            if time.monotonic() - self._looked_at >= KEPT_SECONDS:
                our_time = time.time()  # the store's is of the beginning of the look
                try:
                    self._rows = list(rows_of(self._facts.look(), our_time))
                    self._said = ""
                except Exception as fault:  # also what another hand has written there
                    self._rows = [(catalogue.STORE_UP, (), 0)]
                    if str(fault) != self._said:
                        _log.warning("the store cannot be looked at: %s", fault)
                    self._said = str(fault)
                self._looked_at = time.monotonic()
            return self._rows


def rows_of(facts: StoreFacts, our_time: float) -> Iterator[Row]:
    """Every number of the picture, with its name and labels; `our_time` is this machine's, in seconds."""
    yield catalogue.STORE_UP, (), 1
    yield catalogue.MEMORY, (), facts.memory_used / facts.memory_limit if facts.memory_limit else 0
    yield catalogue.CLOCK_OFFSET, (), facts.now / 1000 - our_time
    yield catalogue.STORE_COMMITS, (), facts.commits
    for lane, messages in facts.waiting.items():
        yield catalogue.QUEUE_MESSAGES, (lane.value,), messages
        oldest = facts.oldest[lane]
        yield catalogue.OLDEST_MESSAGE, (lane.value,), max(facts.now - oldest, 0) / 1000 if oldest else 0
    yield from _owners(facts)
    yield from _scheduler(facts)
    yield catalogue.DEAD_LETTERS, (), facts.dead_letters
    yield catalogue.DEAD_CHIPS, (), facts.dead_chips
    yield catalogue.STOPPED, (), facts.stopped
    yield catalogue.PAUSED, (), facts.paused
    yield from _audits(facts)
    yield from _economy(facts)


def _owners(facts: StoreFacts) -> Iterator[Row]:
    owned = Counter(owner.worker for owner in facts.owners.values())
    yield catalogue.UNOWNED, (), owned.pop("", 0)
    for worker, partitions in owned.items():
        yield catalogue.OWNED, (worker,), partitions
    for partition, owner in facts.owners.items():
        yield catalogue.EPOCH, (f"{partition:03d}",), owner.epoch


def _scheduler(facts: StoreFacts) -> Iterator[Row]:
    yield catalogue.LEADING, (), bool(facts.leader)
    yield catalogue.LEADER_EPOCH, (), facts.leader_epoch
    for job, slot in facts.slots.items():
        yield catalogue.SLOT_AGE, (job,), max(facts.now - slot, 0) / 1000
    for job, missed in facts.missed.items():
        yield catalogue.MISSED_SLOTS, (job,), missed


def _audits(facts: StoreFacts) -> Iterator[Row]:
    audited = facts.audited
    for described, at in ((catalogue.CHECK_AGE, audited.checked), (catalogue.FULL_AGE, audited.last_full)):
        yield described, (), max(facts.now - at, 0) / 1000 if at else inf
    yield catalogue.FINDINGS, (), audited.findings
    yield catalogue.CHAIN_BREAKS, (), audited.chain_breaks
    yield catalogue.AUDIT_DRIFT, (), audited.drift_chips
    yield catalogue.STUCK_POTS, (), audited.stuck_pots
    yield catalogue.DEFICITS, (), audited.table_deficits


def _economy(facts: StoreFacts) -> Iterator[Row]:
    supply = facts.supply
    yield catalogue.SUPPLY, (), supply.deposits - supply.withdrawals
    yield catalogue.DRIFT, (), supply.difference
    for described, name in _OF_TOTALS.items():
        yield described, (), facts.totals.get(name, 0)
    for kind, chips in facts.moved.items():
        yield catalogue.MOVED, (kind,), abs(chips)
    yield catalogue.RESERVATIONS, (), facts.reservations
    yield catalogue.POTS, (), facts.pots


_OF_TOTALS = {
    catalogue.ACCOUNTS: ACCOUNTS,
    catalogue.ENTRIES: ENTRIES,
    catalogue.IN_ACCOUNTS: BALANCES,
    catalogue.HELD: HELD_CHIPS,
    catalogue.IN_PLAY: IN_PLAY,
    catalogue.IN_POTS: IN_POTS,
    catalogue.HOUSE: HOUSE,
}


def _family(described: Described) -> Metric:
    make = CounterMetricFamily if described.kind == "counter" else GaugeMetricFamily
    return make(described.name, described.meaning, labels=described.labels)
