"""Leading and following: one of the schedulers holds the lease, and only that one does jobs.

The lease is a promise not to be disturbed; what keeps a former leader from doing harm is the epoch, which
every dispatch compares.
"""

import logging
from collections.abc import Callable

from app.queueing.limits import LEAD_MS
from app.services.faults import BalanceFault
from app.services.schedule import LeaderQueue

_log = logging.getLogger(__name__)


class Leader:
    """Whether this scheduler leads, as far as it knows. `epoch` is 0 while it does not.

    `check_store` raises StoreUnfit when the store must not be worked with; it is asked before the lead is
    first looked for, and again whenever the store was out of sight.
    """

    def __init__(self, queue: LeaderQueue, name: str, check_store: Callable[[], None]) -> None:
        self.epoch = 0
        self._queue = queue
        self._name = name
        self._check_store = check_store
        self._suspect = True
        self._said = ""

    def look(self) -> None:
        """Take the lead where it is to be had, or keep it."""
        try:
            if self._suspect:
                self._check_store()
                self._suspect = False
            _, epoch = self._queue.lead(self._name, LEAD_MS)
        except BalanceFault as fault:
            self._stand_back(fault)
            return
        if epoch != self.epoch:
            _log.info("epoch %d: %s", epoch or self.epoch, "this scheduler leads" if epoch else "over")
        self.epoch, self._said = epoch, ""

    def carry_out(self, job: Callable[[int], bool]) -> None:
        """Do a job under our epoch, if we lead. It returns False when the store knows another leader."""
        if not self.epoch:
            return
        try:
            if not job(self.epoch):
                _log.warning("the lead was lost, a dispatch was refused: epoch %d", self.epoch)
                self.epoch = 0
        except BalanceFault as fault:
            self._stand_back(fault)
        except Exception:
            _log.exception("a job met a fault of ours")
            self.epoch = 0

    def resign(self) -> None:
        """Give the lead to whoever looks next."""
        self.epoch = 0
        try:
            self._queue.resign(self._name)
        except BalanceFault as fault:
            _log.warning("the lead could not be handed over, it will lapse: %s", fault)

    def _stand_back(self, fault: BalanceFault) -> None:
        """Whether we lead, and whether the last dispatch was queued, is not known: look again first."""
        self.epoch, self._suspect = 0, True
        if str(fault) != self._said:
            _log.warning("nothing is scheduled from here: %s", fault)
        self._said = str(fault)
