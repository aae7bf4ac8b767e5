"""The queue of audit tasks: one stream that auditors share as a consumer group, unlike that of commands.

Order means nothing here, and a task may be done twice: so whoever is free takes the next one, and that of an
auditor who has died is taken by another.
"""

import logging
from typing import Any

from app.services.faults import BalanceFault, StoreRefused
from app.services.queue import Entry
from app.storage import keys
from app.storage.backends.valkey import ValkeyBackend, parse_entries

GROUP = "auditors"
CONSUMER = (
    "auditor"  # the same for all: who took a task does not matter, only for how long it has not been done
)
LOST_MS = 10_000
"""A task that was taken so long ago is given to another: one takes seconds."""
MOST_TRIES = 3
"""A task that has ended so many auditors is left out; the next interval brings the same."""

_log = logging.getLogger(__name__)


class StreamsAuditQueue:
    """Implements `app.services.audits.AuditQueue`."""

    def __init__(self, backend: ValkeyBackend, lost_ms: int = LOST_MS) -> None:
        self._backend = backend
        self._lost_ms = lost_ms

    def take(self, block_ms: int) -> Entry | None:
        """See AuditQueue."""
        try:
            return self._take_lost() or self._take_next(block_ms)
        except StoreRefused as refused:
            if "NOGROUP" not in str(refused):
                raise
        self._make_group()
        return None

    def done(self, entry_id: str) -> None:
        """See AuditQueue."""
        # In this order: an auditor that dies in between leaves only a claim on what is gone, and the next
        # look for lost tasks ends it. A task that was acknowledged and is still there would wait for ever.
        self._backend.call("XDEL", keys.AUDIT_QUEUE, entry_id)
        self._backend.call("XACK", keys.AUDIT_QUEUE, GROUP, entry_id)

    def give_back(self, entry_id: str) -> None:
        """See AuditQueue."""
        since = ("IDLE", self._lost_ms, "JUSTID")
        self._backend.call("XCLAIM", keys.AUDIT_QUEUE, GROUP, CONSUMER, 0, entry_id, *since)

    def close(self) -> None:
        """See AuditQueue."""
        self._backend.close()

    def _take_next(self, block_ms: int) -> Entry | None:
        options = ("COUNT", 1, "BLOCK", block_ms, "STREAMS", keys.AUDIT_QUEUE, ">")
        reply = self._backend.call("XREADGROUP", "GROUP", GROUP, CONSUMER, *options)
        return _first(reply[0][1]) if reply else None

    def _take_lost(self) -> Entry | None:
        window = ("IDLE", self._lost_ms, "-", "+", 1)
        for entry_id, _, _, tries in self._backend.call("XPENDING", keys.AUDIT_QUEUE, GROUP, *window):
            if tries >= MOST_TRIES:
                _log.error("ALARM audit task %s is left out: %d auditors took it", entry_id.decode(), tries)
                self.done(entry_id.decode())
                return None
            claim = ("XCLAIM", keys.AUDIT_QUEUE, GROUP, CONSUMER, self._lost_ms, entry_id)
            return _first(self._backend.call(*claim))
        return None

    def _make_group(self) -> None:
        try:
            self._backend.call("XGROUP", "CREATE", keys.AUDIT_QUEUE, GROUP, "0", "MKSTREAM")
        except BalanceFault as fault:
            if "BUSYGROUP" not in str(fault):  # another auditor was faster
                raise


def _first(entries: list[Any]) -> Entry | None:
    found = parse_entries([each for each in entries if each])
    return found[0] if found else None
