"""Carries out audit tasks on a store."""

import time
from collections.abc import Callable

from app.services.audits import AuditTask, Work
from app.storage.audits.conservation import Conservation
from app.storage.audits.partitions import PartitionAudit
from app.storage.audits.retention import Kept, Retention
from app.storage.audits.state import AuditedStore, Rules


class StoreAudits:
    """Implements `app.services.audits.Audits`. For one thread, like its store."""

    def __init__(
        self, store: AuditedStore, rules: Rules, kept: Kept, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._rules = rules
        self._kept = kept
        self._clock = clock

    def carry_out(self, task: AuditTask) -> None:
        """See Audits."""
        match task.work:
            case Work.PARTITION:
                PartitionAudit(self._store, task.partition, self._rules, self._clock).run()
            case Work.STORE:
                Conservation(self._store, self._rules, self._clock).run()
            case Work.RETENTION:
                Retention(self._store, self._rules.partitions, self._kept).run()
