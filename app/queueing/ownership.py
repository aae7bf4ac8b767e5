"""Which partitions this worker owns: taken, renewed and handed over on the server's clock.

A lease is only a promise not to be disturbed; what protects the money is the epoch, compared by every commit.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from app.queueing.limits import IDLE_SECONDS, LEASE_MS, RENEW_SECONDS, TAKEOVER_SECONDS, UNIT_SECONDS
from app.services.faults import BalanceFault
from app.services.queue import Lease, PartitionQueue

STUCK_EXIT_CODE = 70

_log = logging.getLogger(__name__)


@dataclass(slots=True, frozen=True)
class Owned:
    """A partition that is ours. After an unclean takeover what arrived until `careful_until` runs alone."""

    lease: Lease
    careful_until: int


class Ownership:
    """Keeps this worker's share of the partitions, in a thread of its own.

    The consumer reads `owned`, and gives up what it is asked to between units of work.
    """

    def __init__(self, connect: Callable[[], PartitionQueue], partitions: int, worker: str) -> None:
        self.worker = worker
        self.changed = threading.Event()
        self._queue = connect()
        self._partitions = partitions
        self._lock = threading.Lock()
        self._owned: dict[int, Owned] = {}
        self._share = partitions
        self._renewed_at = 0.0
        self._unit_since: float | None = None
        self._looked_at = time.monotonic()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to take partitions; harmless when repeated."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="ownership", daemon=True)
            self._thread.start()

    def owned(self) -> dict[int, Owned]:
        """The partitions that are ours as far as is known, by number. Never changed, only replaced."""
        return self._owned

    def forget(self, partitions: frozenset[int]) -> None:
        """These have another owner now."""
        with self._lock:
            self._owned = {each: owned for each, owned in self._owned.items() if each not in partitions}

    def working(self, *, since: float | None) -> None:
        """A unit is in hand that last got on at that time (monotonic seconds), or none is."""
        self.looked()
        self._unit_since = since

    def looked(self) -> None:
        """The queues could be looked at just now, or nobody can."""
        self._looked_at = time.monotonic()

    def surplus(self) -> int | None:
        """A partition that another worker should have, one at a time."""
        with self._lock:
            return max(self._owned) if len(self._owned) > self._share else None

    def hand_over(self, queue: PartitionQueue, partitions: list[int], *, leave: bool = False) -> None:
        """Give partitions back cleanly; they must have nothing in hand."""
        with self._lock:
            epochs = {each: self._owned[each].lease.epoch for each in partitions if each in self._owned}
            self._owned = {each: owned for each, owned in self._owned.items() if each not in epochs}
        queue.release(self.worker, epochs, leave=leave)

    def stop(self) -> None:
        """Hand everything over and sign off; with a unit in hand that has not ended in time, do neither."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=LEASE_MS / 1000)
        try:
            if self._unit_since is None:
                self.hand_over(self._queue, list(self.owned()), leave=True)
            else:
                _log.warning("a unit has not ended in time: the partitions will lapse")
        except BalanceFault as fault:
            _log.warning("partitions could not be handed over, they will lapse: %s", fault)
        self._queue.close()

    def _run(self) -> None:
        said = ""
        while not self._stopping.is_set():
            try:
                self._tick()
                said = ""
            except BalanceFault as fault:
                if str(fault) != said:
                    _log.warning("the leases cannot be kept: %s", fault)
                said = str(fault)
                self.looked()  # the store is away, for all alike: nobody else could do more
            except Exception:
                _log.exception("leases met a fault of ours")
            self._stopping.wait(TAKEOVER_SECONDS)

    def _tick(self) -> None:
        since = self._unit_since
        if since is not None and time.monotonic() - since > UNIT_SECONDS:
            _log.critical("a unit of work has stood still for %s s: this process ends itself", UNIT_SECONDS)
            os._exit(STUCK_EXIT_CODE)
        idle = since is None and time.monotonic() - self._looked_at > IDLE_SECONDS
        if idle and not self._owned:
            return
        if idle or time.monotonic() - self._renewed_at >= RENEW_SECONDS:
            self._renew()
        if idle:
            self._let_go()
            return
        with self._lock:
            missing = [each for each in range(self._partitions) if each not in self._owned]
            wanted = self._share - len(self._owned)
        if wanted > 0 and missing:
            self._take(missing, wanted)

    def _let_go(self) -> None:
        """Who cannot work, whatever the reason, keeps nobody else from it; it begins again when it can."""
        _log.critical("ALARM this worker could not read its queues for %s s, others may", IDLE_SECONDS)
        self.hand_over(self._queue, list(self.owned()), leave=True)

    def _renew(self) -> None:
        epochs = {partition: owned.lease.epoch for partition, owned in self.owned().items()}
        lost, alive = self._queue.renew(self.worker, epochs, LEASE_MS)
        self._renewed_at = time.monotonic()
        if lost:
            _log.warning("partitions lost to another owner: %s", lost)
            self.forget(frozenset(lost))
        rank = sorted(alive).index(self.worker)
        self._share = self._partitions // len(alive) + (rank < self._partitions % len(alive))

    def _take(self, missing: list[int], most: int) -> None:
        now, leases = self._queue.acquire(self.worker, missing, LEASE_MS, most)
        if not leases:
            return
        with self._lock:
            taken = {lease.partition: Owned(lease, 0 if lease.clean else now) for lease in leases}
            self._owned = self._owned | taken
        unclean = sum(not lease.clean for lease in leases)
        _log.info("took %d partitions, %d of them after an unclean end", len(leases), unclean)
        self.changed.set()
