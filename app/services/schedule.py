"""The ports to the store, as the scheduler needs it: who leads, the last slot, what is due, what to queue."""

from typing import NamedTuple, Protocol

from app.services.queue import Stream


class Slot(NamedTuple):
    """A time at which a job is to be done (ms since the epoch); `missed` counts those before it not done."""

    job: str
    time: int
    missed: int = 0


class Task(NamedTuple):
    """A message for a queue. Only one task of a name waits there at a time; places sort as text.

    Without a stream it is a task of the auditors, for the queue that they share.
    """

    stream: Stream | None
    name: str
    place: str
    message: str


class LeaderQueue(Protocol):
    """What one scheduler at a time may do. Raises StoreUnavailable (unknown) or StoreRefused (undone)."""

    def lead(self, name: str, lease_ms: int) -> tuple[int, int]:
        """Take the lead where it is free or has lapsed, or keep it; the server's time (ms) and our epoch.

        The epoch grows with each change of leader; it is 0 while another leads.
        """
        ...

    def resign(self, name: str) -> None:
        """Give the lead away, where it is ours."""
        ...

    def dispatch(self, epoch: int, slot: Slot, tasks: list[Task]) -> list[int] | None:
        """Mark the slot as done and queue its tasks; the indexes of those queued, None when another leads.

        A task is left out while the last one of its name waits, and where that had its place or a later one.
        """
        ...


class Schedule(LeaderQueue, Protocol):
    """All that the scheduler asks the store."""

    def last_slot(self, job: str) -> tuple[int, int]:
        """The server's time, and the last slot that was done of a job, 0 before the first (ms)."""
        ...

    def due_holds(self, now: int, most: dict[int, int]) -> dict[int, list[str]]:
        """By partition, up to `most` reservations whose hold is past its time at `now`, the oldest first."""
        ...
