"""Dead letters in the store, and the atomic steps that ops take with them."""

from collections.abc import Callable

from app.domain.dead_letters import DeadLetter, partition_of_letter
from app.domain.outcomes import Answer, Outcome
from app.domain.records import RefusalRecord
from app.domain.requests import Request
from app.services.changes import LetterChange
from app.services.dead_letters import Step
from app.services.ops_log import Deed
from app.services.queue import Lane
from app.storage import codec, keys
from app.storage.backend import Backend
from app.storage.ops_log import StoreOpsLog
from app.storage.plan import Plan
from app.storage.stops import StoreStops
from app.storage.writing import change_letter


class StoreLetters:
    """Implements `app.services.dead_letters.LetterStore`."""

    def __init__(self, backend: Backend, partitions: int) -> None:
        self._backend = backend
        self._partitions = partitions
        self._log = StoreOpsLog(backend)
        self._stops = StoreStops(backend)

    def open_letters(self) -> list[DeadLetter]:
        """See LetterStore."""
        found: list[DeadLetter] = []
        for partition in range(self._partitions):  # one at a time: no call is long
            plan = Plan()
            plan.read("HGETALL", keys.dead_letters(partition))
            _, (pairs,) = self._backend.read(plan)
            found += filter(None, map(codec.dead_letter, pairs[1::2]))
        return found

    def letter(self, dead_letter_id: str) -> DeadLetter | None:
        """See LetterStore."""
        partition = partition_of_letter(dead_letter_id)
        if partition is None:
            return None
        plan = Plan()
        plan.read("HGET", keys.dead_letters(partition), dead_letter_id)
        plan.read("GET", keys.closed_letter(partition, dead_letter_id))
        _, (parked, closed) = self._backend.read(plan)
        return codec.dead_letter(parked) or codec.dead_letter(closed)

    def take_step(self, dead_letter_id: str, step: Callable[[DeadLetter, int], Step | None]) -> bool:
        """See LetterStore."""

        def prepare(plan: Plan, now: int) -> Deed | None:
            letter = self._open_letter(dead_letter_id)
            taken = step(letter, now) if letter else None
            if letter is None or taken is None or not self._write(plan, letter, taken):
                return None
            return taken.deed

        return self._log.commit(prepare)

    def stopped_kinds(self) -> frozenset[str]:
        """See LetterStore."""
        return frozenset(stop.kind for stop in self._stops.of_the_living())

    def _open_letter(self, dead_letter_id: str) -> DeadLetter | None:
        letter = self.letter(dead_letter_id)
        return None if letter is None or letter.closed else letter

    def _write(self, plan: Plan, letter: DeadLetter, step: Step) -> bool:
        if step.holds is not None and not self._hold(plan, letter, step.holds):
            return False
        change_letter(plan, LetterChange(letter, step.after))
        if step.message:
            plan.write("XADD", keys.queue(letter.partition, Lane.BULK), "*", "m", step.message)
        return True

    def _hold(self, plan: Plan, letter: DeadLetter, request: Request) -> bool:
        """Have the key held by the letter again, unless there is something under it by now.

        A worker may have loaded that there is nothing, and compares no such thing when it applies the
        command: a new epoch ends whatever the owner of the partition has in hand.
        """
        names = [keys.refusal(*request.refusal_key), _permanent(request)]
        for name in names:
            plan.expect_absent(name)
        answer = Answer(outcome=Outcome.DEAD_LETTERED, detail=letter.dead_letter_id)
        record = RefusalRecord(fingerprint=request.fingerprint, answer=answer)
        plan.write("SET", names[0], codec.encode(record))
        plan.write("HINCRBY", keys.partition(letter.partition), "epoch", 1)
        looking = Plan()
        for name in names:
            looking.read("GET", name)
        return not any(self._backend.read(looking)[1])


def _permanent(request: Request) -> str:
    """The key of what stays of the command for ever once it is applied."""
    if request.is_reserve:
        return keys.reservation(request.partition, request.record_id)
    if request.is_on_pot:
        return keys.answer(request.partition, request.record_id)
    return keys.transaction(request.partition, request.record_id)
