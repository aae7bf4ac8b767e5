"""The ports of the audits: the tasks that auditors are given, and the queue in which these wait."""

from enum import StrEnum
from typing import Protocol

import msgspec

from app.services.queue import Entry


class Work(StrEnum):
    """What a task is about."""

    PARTITION = "partition"
    STORE = "store"
    RETENTION = "retention"


class AuditTask(msgspec.Struct, frozen=True, kw_only=True):
    """One task. It may be carried out twice, and by two auditors at once."""

    v: int = msgspec.field(default_factory=lambda: 1)
    work: Work
    partition: int = 0


class AuditQueue(Protocol):
    """The queue that all auditors share. Raises StoreUnavailable or StoreRefused."""

    def take(self, block_ms: int) -> Entry | None:
        """The next task, or one whose auditor has not been heard of for a while; None when there is none."""
        ...

    def done(self, entry_id: str) -> None:
        """The task is not wanted any more."""
        ...

    def give_back(self, entry_id: str) -> None:
        """The task was taken and not begun: whoever is free takes it next."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class Audits(Protocol):
    """Carries out tasks. Raises StoreUnavailable or StoreRefused."""

    def carry_out(self, task: AuditTask) -> None:
        """Do what the task says."""
        ...
