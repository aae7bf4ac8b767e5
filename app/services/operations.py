"""What ops do from day to day, whatever front end: each deed has its reason and its line in the log."""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import msgspec
from msgspec.structs import replace

from app.domain.commands import AccountCommand, CancelPot, Command, LeaveTable, TableCommand
from app.domain.decide import decide
from app.domain.identifiers import partition_of
from app.domain.outcomes import Answer, Outcome
from app.domain.policy import Policy
from app.domain.requests import Request
from app.services.dead_letters import DeadLetters
from app.services.faults import BalanceFault, Overloaded, Unavailable
from app.services.loading import load
from app.services.lookups import Lookups
from app.services.ops_log import INTENDED, UNKNOWN, Deed, OpsLog
from app.services.overview import Overview
from app.services.ports import Store
from app.services.stops import Stop
from app.services.submission import CommandBus

NOT_DONE = "NOT_DONE"
STILL_IN_PLAY = "STILL_IN_PLAY"
CASH_OUT = "table.cash-out"

Result = TypeVar("Result")


class Switches(Protocol):
    """What ops switch on and off, with a line in the log. Raises StoreUnavailable or StoreRefused."""

    def pause(self, who: str, why: str) -> bool:
        """Have front ends refuse new commands of callers; False where they do already."""
        ...

    def resume(self, who: str, why: str) -> bool:
        """Have them take commands again; False where they do already."""
        ...

    def take_down(self, kind: str, deed: Deed) -> list[Stop]:
        """Have workers take commands of a kind again, of all kinds for ""; the stops that there were."""
        ...


class Foresight:
    """What a command would lead to now. Changes nothing."""

    def __init__(self, store: Store, policy: Policy) -> None:
        self._store = store
        self._policy = policy

    def answer(self, command: Command, key: str) -> Answer:
        """The answer that the command would get on the state as it is now."""
        partition = partition_of(command.aggregate_id, self._policy.partitions)
        request = Request(command, partition=partition, key=key)
        state, now = load(self._store, [request], self._policy, 0)
        request.arrived_at = now
        return decide(state, request, now, self._policy).answer


@dataclass(slots=True, frozen=True, kw_only=True)
class OpsDesk:
    """All that ops work with, on one connection: for one thread, for one job."""

    dead_letters: DeadLetters
    log: OpsLog
    overview: Overview
    switches: Switches
    foresight: Foresight


class OpsRoom(Protocol):
    """Runs jobs at a desk, in a thread of their own."""

    async def read(self, job: Callable[[OpsDesk], Result]) -> Result:
        """What the job finds. Raises Unavailable when the store is away."""
        ...

    async def act(self, job: Callable[[OpsDesk], Result]) -> Result:
        """What the job does. Raises DeadlinePassed when the store went away in it: what it did is unknown."""
        ...


@dataclass(slots=True, frozen=True, kw_only=True)
class Order:
    """A command that somebody of ops gives: `what` it is called in the log, and why it is given."""

    command: Command
    who: str
    what: str
    why: str
    subjects: tuple[str, ...]
    key: str = ""


async def carry_out(room: OpsRoom, bus: CommandBus, order: Order) -> Answer:
    """Have the order carried out through the queue, also while the service is paused.

    The log has a line before that, and one with the outcome after it. Raises as the bus does.
    """

    async def note(outcome: str) -> None:
        deed = Deed(who=order.who, what=order.what, subjects=order.subjects, why=order.why, outcome=outcome)
        await room.act(lambda desk: desk.log.append(deed))

    await note(INTENDED)
    try:
        answer = await bus.execute(order.command, key=order.key, by_ops=True)
    except BalanceFault as fault:
        await note(NOT_DONE if isinstance(fault, Unavailable | Overloaded) else UNKNOWN)
        raise
    await note(f"{answer.outcome} {answer.transaction_id or answer.detail}".rstrip())
    return answer


async def foresee(room: OpsRoom, order: Order) -> Answer:
    """What the order would lead to now."""
    return await room.read(lambda desk: desk.foresight.answer(order.command, order.key))


class ClosingStep(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One step of closing a table: what was done to whom, with how many chips, and how it ended."""

    what: str
    subject: str
    amount: int
    outcome: str
    transaction_id: str = ""


@dataclass(slots=True, frozen=True, kw_only=True)
class Closing:
    """A table to be closed. Under the same `key` what was cashed out is not cashed out again.

    What comes to the table after that is: the key of each cash-out names how much was seen there.
    """

    table_id: str
    key: str
    who: str
    why: str

    def cancel(self, hand_id: str) -> Order:
        """Cancel one of its pots."""
        command = CancelPot(table_id=self.table_id, hand_id=hand_id, reason=self.why)
        return self._order(command, f"{self.table_id}|{hand_id}", "pot.cancel")

    def cash_out(self, account_id: str, chips: int) -> Order:
        """Bring what an account has in play there back to it."""
        command = LeaveTable(account_id=account_id, table_id=self.table_id, reason=self.why)
        return self._order(command, account_id, CASH_OUT, chips)

    def _order(
        self, command: AccountCommand | TableCommand, subject: str, what: str, chips: int = 0
    ) -> Order:
        key = f"close-{hashlib.sha256(f'{self.table_id}|{self.key}|{chips}'.encode()).hexdigest()}"
        return Order(
            command=command,
            who=self.who,
            what=what,
            why=self.why,
            subjects=(self.table_id, subject),
            key=key if command.keyed else "",
        )


Perform = Callable[[Order], Awaitable[Answer]]


async def close_table(lookups: Lookups, closing: Closing, perform: Perform) -> list[ClosingStep]:
    """Cancel the table's pots, then cash out what is in play there. Safe to repeat at any point.

    With a `perform` that only looks it tells what would be done now.
    """
    steps = []
    for hand_id, chips in sorted((await lookups.table(closing.table_id)).pots.items()):
        steps.append(await _step(closing.cancel(hand_id), hand_id, chips, perform))
    for account_id, chips in sorted((await lookups.table(closing.table_id)).in_play.items()):
        if chips > 0:
            steps.append(await _step(closing.cash_out(account_id, chips), account_id, chips, perform))
    return steps


async def still_in_play(lookups: Lookups, closing: Closing, steps: list[ClosingStep]) -> list[ClosingStep]:
    """What lies there though the steps went well: hands went on meanwhile, and it has to be closed again."""
    refused = {step.subject for step in steps if step.outcome != Outcome.OK}
    in_play = sorted((await lookups.table(closing.table_id)).in_play.items())
    return [
        ClosingStep(what=CASH_OUT, subject=account_id, amount=chips, outcome=STILL_IN_PLAY)
        for account_id, chips in in_play
        if chips > 0 and account_id not in refused
    ]


async def _step(order: Order, subject: str, chips: int, perform: Perform) -> ClosingStep:
    answer = await perform(order)
    if answer.outcome is Outcome.NOT_ON_TABLE:  # somebody was faster: there is nothing left to do
        answer = replace(answer, outcome=Outcome.OK)
        chips = 0
    return ClosingStep(
        what=order.what,
        subject=subject,
        amount=answer.amount or chips,
        outcome=answer.outcome.value,
        transaction_id=answer.transaction_id,
    )
