"""The Store of the services on top of a Backend: load and commit by domain ids."""

from app.domain.state import State
from app.services.changes import Changes
from app.services.ports import CommitResult, Wanted
from app.services.work import Delivery, Work
from app.storage.backend import Backend
from app.storage.loading import Loader
from app.storage.writing import Writing

STATE_KEPT_MS = 7 * 86_400_000
"""How long the state of a submitted command is kept once it is done, unless somebody says otherwise."""


class BalanceStore:
    """Implements `app.services.ports.Store`. One per worker thread, like its backend."""

    def __init__(
        self, backend: Backend, partitions: int, refusal_ttl_ms: int, state_ttl_ms: int = STATE_KEPT_MS
    ) -> None:
        self._backend = backend
        self._loader = Loader(backend, partitions)
        self._partitions = partitions
        self._refusal_ttl_ms = refusal_ttl_ms
        self._state_ttl_ms = state_ttl_ms
        self._marked: dict[tuple[int, int, str], str] = {}

    def load(self, wanted: Wanted, state: State) -> int:
        """See Store."""
        return self._loader.load(wanted, state)

    def commit(self, changes: Changes, deliveries: list[Delivery], now: int) -> CommitResult:
        """See Store. Only deliveries whose works are all answered are answered and removed."""
        writing = Writing(self._partitions, self._refusal_ttl_ms, self._state_ttl_ms, now)
        for partition, epoch in {delivery.partition: delivery.epoch for delivery in deliveries}.items():
            writing.owned(partition, epoch)
        writing.changes(changes)
        writing.answers([delivery for delivery in deliveries if delivery.finished])
        writing.tried([work for each in deliveries for work in each.works if work.marked and work.answer])
        failed = self._backend.commit(writing.finish())
        if not failed:
            for change in changes.accounts.values():
                self._loader.learn(change.after)
            return CommitResult()
        lost = frozenset(writing.epoch_checks[index] for index in failed if index in writing.epoch_checks)
        return CommitResult(lost=lost, conflict=len(lost) < len(failed))

    def mark_trying(self, work: Work) -> int | None:
        """See Store. Marks once for each owner: a try that only the store has ended is no death."""
        delivery = work.delivery
        milliseconds, _, number = delivery.entry_id.partition("-")
        place = f"{milliseconds:>015}-{number:>020}-{work.index:05d}"
        stream = (delivery.partition, delivery.epoch, delivery.lane)
        if place <= self._marked.get(stream, ""):
            return 0
        self._marked[stream] = place
        count = self._backend.mark(*stream, place)
        return None if count < 0 else count
