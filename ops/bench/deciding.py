"""Commands carried out in memory by the real rules: what seeds and direct commits then write."""

from msgspec.structs import replace

from app.domain.commands import Command
from app.domain.decide import decide
from app.domain.identifiers import partition_in, partition_of
from app.domain.outcomes import Answer
from app.domain.policy import Policy
from app.domain.requests import Request
from app.domain.state import State
from app.services.changes import Changes

POLICY = Policy()


class Deciding:
    """The commands of one account, one after the other, and what they change; nothing is stored yet.

    `changes` are those since the last `written`. Times are ms since the epoch.
    """

    def __init__(self, account_id: str, partitions: int) -> None:
        self.account_id = account_id
        self.changes = Changes()
        self._partitions = partitions
        self._state = State(accounts={account_id: None})

    def do(self, command: Command, now: int, key: str = "") -> Answer:
        """Carry out one command, under a key that was never used."""
        named = partition_in(command.aggregate_id)
        partition = partition_of(command.aggregate_id, self._partitions) if named is None else named
        request = Request(command, partition=partition, key=key, arrived_at=now)
        state = self._state
        if key:
            state.refusals[request.refusal_key] = None
            (state.reservations if request.is_reserve else state.transactions)[request.record_id] = None
        decision = decide(state, request, now, POLICY)
        if not decision.answer.ok:
            raise RuntimeError(f"{command.kind} was refused: {decision.answer.outcome}")
        self.changes.add(state, request, decision)
        state.apply(decision, request)
        return decision.answer

    def forget_holds(self) -> None:
        """Decide the next command as if no hold was past its time yet: none is ended by passing over it."""
        self._state.holds.clear()

    def written(self) -> None:
        """The changes are in the store: go on from there."""
        account = self._state.accounts[self.account_id]
        after = replace(account, revision=account.revision + 1) if account else None
        self._state, self.changes = State(accounts={self.account_id: after}), Changes()
