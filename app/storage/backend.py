"""The port to the server, at the level of the function library: every I/O step of a process goes through it.

Two backends implement it, proven by one suite: `valkey` (the real one) and `memory` (its twin).
"""

from typing import Any, Protocol

from app.services.queue import PartitionQueue
from app.services.schedule import LeaderQueue
from app.storage.plan import Plan

Reply = Any
"""What the server answers: int, bytes, None, or a list of these."""


class Backend(PartitionQueue, LeaderQueue, Protocol):
    """One connection to the server. Not for use by several threads at once.

    Every method raises StoreUnavailable (whether it was applied is unknown) or StoreRefused (it was not).
    `commits` is the highest commit counter this connection has seen.
    """

    commits: int

    def read(self, plan: Plan) -> tuple[int, list[Reply]]:
        """The server's time (ms) and the replies to the plan's reads, all of one moment."""
        ...

    def commit(self, plan: Plan) -> list[int]:
        """Apply the plan's writes, all or nothing; the indexes of the checks that failed, [] when applied."""
        ...

    def mark(self, partition: int, epoch: int, lane: str, place: str) -> int:
        """Mark a command as about to run alone: how often, 0 if a later one was, -1 if not ours."""
        ...
