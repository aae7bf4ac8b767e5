"""The Schedule of the services on top of a Backend."""

from app.services.schedule import Slot, Task
from app.storage import keys
from app.storage.backend import Backend
from app.storage.plan import Plan


class StoreSchedule:
    """Implements `app.services.schedule.Schedule`. For one thread, like its backend."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def lead(self, name: str, lease_ms: int) -> tuple[int, int]:
        """See LeaderQueue."""
        return self._backend.lead(name, lease_ms)

    def resign(self, name: str) -> None:
        """See LeaderQueue."""
        self._backend.resign(name)

    def dispatch(self, epoch: int, slot: Slot, tasks: list[Task]) -> list[int] | None:
        """See LeaderQueue."""
        return self._backend.dispatch(epoch, slot, tasks)

    def last_slot(self, job: str) -> tuple[int, int]:
        """See Schedule."""
        plan = Plan()
        plan.read("HGET", keys.SCHEDULER, keys.slot_field(job))
        now, (slot,) = self._backend.read(plan)
        return now, int(slot or 0)

    def due_holds(self, now: int, most: dict[int, int]) -> dict[int, list[str]]:
        """See Schedule."""
        plan = Plan()
        for partition, count in most.items():
            plan.read("ZRANGEBYSCORE", keys.reservation_expiry(partition), "-inf", now, "LIMIT", 0, count)
        _, replies = self._backend.read(plan)
        return {each: [name.decode() for name in due] for each, due in zip(most, replies, strict=True)}
