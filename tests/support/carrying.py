"""Commands carried out on a store in this thread: appended, taken, decided and committed."""

from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any

from app.domain.commands import Command, Deposit
from app.domain.decide import decide
from app.domain.identifiers import partition_of
from app.domain.outcomes import Answer
from app.domain.policy import Policy
from app.domain.requests import Request
from app.domain.state import State
from app.queueing.envelope import encode_message, open_message, route, seal
from app.queueing.limits import MESSAGE_COMMANDS
from app.services.changes import Changes
from app.services.execution import Execution
from app.services.loading import load
from app.services.ports import CommitResult, Store, Wanted
from app.services.queue import Lane, Stream
from app.services.work import Delivery, Unit
from app.storage.backend import Backend
from app.storage.store import BalanceStore

PARTITIONS = 4
REFUSAL_TTL_MS = 86_400_000
LEASE_MS = 3_600_000

Order = tuple[Command, str]
"""A command and its idempotency key, "" for one that takes none."""


def ids_in(partition: int, partitions: int = PARTITIONS) -> Iterator[str]:
    """Account or table ids that belong to the partition."""
    return (name for n in count() if partition_of(name := f"player-{n}", partitions) == partition)


def id_in(partition: int, partitions: int = PARTITIONS) -> str:
    """The first of these ids."""
    return next(ids_in(partition, partitions))


def deposits(account_id: str, first: int, last: int) -> list[Order]:
    """Deposits of 1 chip, with the keys `k1`, `k2` and so on."""
    return [(Deposit(account_id=account_id, amount=1), f"k{number}") for number in range(first, last + 1)]


def load_all(store: Store, **wanted: Iterable[Any]) -> State:
    """What the store has of these, by the names of Wanted."""
    asked, state = Wanted(), State()
    for name, ids in wanted.items():
        getattr(asked, name).update(ids)
    store.load(asked, state)
    return state


def decided(store: Store, *orders: Order) -> Changes:
    """What these commands would change, decided on what the store has now, but not committed."""
    requests = [
        Request(command, partition=route(command, PARTITIONS) or 0, key=key) for command, key in orders
    ]
    # These requests have no time of arrival.
    policy = Policy(refusal_ttl_ms=10**15, partitions=PARTITIONS)
    state, now = load(store, requests, policy, 0)
    changes = Changes()
    for request in requests:
        decision = decide(state, request, now, policy)
        changes.add(state, request, decision)
        state.apply(decision, request)
    return changes


class _CountingStore(BalanceStore):
    conflicts = 0

    def commit(self, changes: Changes, deliveries: list[Delivery], now: int) -> CommitResult:
        result = super().commit(changes, deliveries, now)
        self.conflicts += result.conflict
        return result


class Carrier:
    """A worker that owns these partitions for as long as nobody takes one from it by force."""

    def __init__(
        self,
        backend: Backend,
        name: str = "carrier",
        *,
        policy: Policy | None = None,
        refusal_ttl_ms: int = REFUSAL_TTL_MS,
        partitions: Iterable[int] = range(PARTITIONS),
    ) -> None:
        self.backend = backend
        self.store = _CountingStore(backend, PARTITIONS, refusal_ttl_ms)
        self._execution = Execution(self.store, policy or Policy(partitions=PARTITIONS))
        self._name = name
        _, leases = backend.acquire(name, list(partitions), LEASE_MS, PARTITIONS)
        self.epochs = {lease.partition: lease.epoch for lease in leases}
        self._messages = count(1)

    @property
    def conflicts(self) -> int:
        """How often a commit found that somebody else had been there since its load."""
        return self.store.conflicts

    def leave(self) -> None:
        """Hand all partitions over to whoever comes."""
        self.backend.release(self._name, self.epochs, leave=True)

    def deliver(self, *orders: Order, reply_to: str = "") -> Delivery:
        """Queue the commands, of one partition, as one message, and take it in hand."""
        (partition,) = {route(command, PARTITIONS) for command, _ in orders}
        message_id = f"message-{next(self._messages)}"
        envelopes = [
            seal(command, key=key, command_id=f"{message_id}-{index}", remaining_ms=0, reply_to=reply_to)
            for index, (command, key) in enumerate(orders)
        ]
        assert partition is not None
        stream = (partition, Lane.INTERACTIVE)
        (entry_id,) = self.backend.append([(stream, encode_message(envelopes, message_id))])
        (delivery,) = (each for each in self.waiting(stream) if each.entry_id == entry_id)
        return delivery

    def waiting(self, stream: Stream) -> list[Delivery]:
        """What stands in the stream, taken in hand."""
        partition, lane = stream
        entries = self.backend.take({stream: "0-0"}, 1_000, 0).get(stream, [])
        where = {"partition": partition, "partitions": PARTITIONS, "epoch": self.epochs[partition]}
        return [open_message(entry, lane=lane, **where) for entry in entries]

    def work_off(self, *streams: Stream) -> list[Answer]:
        """Carry out what stands in the streams; the answers."""
        unit = Unit([delivery for stream in streams for delivery in self.waiting(stream)])
        assert self._execution.run(unit) == frozenset()
        return [answer for delivery in unit.deliveries for answer in delivery.answers]

    def carry_out(self, *orders: Order) -> list[Answer]:
        """Queue and carry out the commands, of one partition, in one unit; their answers."""
        messages = [
            orders[first : first + MESSAGE_COMMANDS] for first in range(0, len(orders), MESSAGE_COMMANDS)
        ]
        unit = Unit([self.deliver(*message) for message in messages])
        assert self._execution.run(unit) == frozenset()
        return [answer for delivery in unit.deliveries for answer in delivery.answers]
