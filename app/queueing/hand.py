"""What a worker has in hand: messages read from its partitions' queues and not yet carried out.

Reading removes nothing, so all of it may be dropped at any time and read again.
"""

from collections import deque
from collections.abc import Collection, Container, Iterator

from app.domain.commands import PayTogether, SettlePot
from app.queueing.envelope import open_message
from app.queueing.limits import (
    ALONE_COST,
    BULK_COMMANDS,
    CAREFUL_BULK_COMMANDS,
    CAREFUL_COMMANDS,
    UNIT_ACCOUNTS,
    UNIT_COMMANDS,
)
from app.queueing.ownership import Owned
from app.services.queue import Entry, Lane, Stream
from app.services.work import Delivery, Unit

START = "0-0"
LANES = tuple(Lane)


class Hand:
    """Cursors and messages by stream, and the order in which they make units of work.

    A message with a command of a `stopped` kind waits at the head of its stream, and all behind it with it.
    """

    def __init__(self, partitions: int, stopped: Container[str] = ()) -> None:
        self._partitions = partitions
        self._stopped = stopped
        self._blocked: set[Stream] = set()
        self._owned: dict[int, Owned] = {}
        self._entries: dict[Stream, deque[Entry]] = {}
        self._heads: dict[Stream, Delivery] = {}
        self._cursors: dict[Stream, str] = {}
        self._careful_left: dict[Stream, int] = {}
        self._turn = 0

    def sync(self, owned: dict[int, Owned]) -> None:
        """Begin with partitions that are new (or new again), drop those that are gone."""
        if owned is self._owned:
            return
        for partition in self._owned.keys() - owned.keys():
            self._drop(partition)
        for partition, now in owned.items():
            had = self._owned.get(partition)
            if had is None or had.lease.epoch != now.lease.epoch:
                self._drop(partition)
                self._begin(partition, now)
        self._owned = owned

    def rewind(self) -> None:
        """Drop everything in hand and read every queue from its beginning again."""
        self._entries.clear()
        self._heads.clear()
        for partition, owned in self._owned.items():
            self._begin(partition, owned)

    def cursors(self, lanes: Collection[Lane] = LANES) -> dict[Stream, str]:
        """Where to read on, for the streams of these lanes that have nothing in hand."""
        return {
            stream: cursor
            for stream, cursor in self._cursors.items()
            if stream[1] in lanes and stream not in self._entries
        }

    @property
    def empty(self) -> bool:
        """True when nothing is in hand that may be carried out."""
        return self._entries.keys() <= self._blocked

    def take_in(self, found: dict[Stream, list[Entry]]) -> None:
        """Put what was read behind what is in hand."""
        for stream, entries in found.items():
            if stream in self._cursors:
                self._entries.setdefault(stream, deque()).extend(entries)
                self._cursors[stream] = entries[-1].entry_id

    def next_unit(self) -> Unit | None:
        """The next unit: whole messages, round robin, interactive first; one bulk message if any waits.

        A unit of bulk messages alone is small: callers that come meanwhile wait for it.
        """
        self._blocked.clear()
        budget = _Budget(UNIT_COMMANDS)
        deliveries = list(self._pick(Lane.INTERACTIVE, budget))
        deliveries += self._pick(Lane.BULK, budget.one_more() if deliveries else _Budget(BULK_COMMANDS))
        self._turn += 1
        return Unit(deliveries) if deliveries else None

    def _pick(self, lane: Lane, budget: "_Budget") -> Iterator[Delivery]:
        waiting = [stream for stream in self._entries if stream[1] is lane]
        turn = self._turn % len(waiting) if waiting else 0
        queue = deque(waiting[turn:] + waiting[:turn])
        while queue:
            stream = queue.popleft()
            delivery = self._head(stream)
            if self._is_stopped(delivery):
                self._blocked.add(stream)
                continue
            if not budget.fits(delivery):
                return
            budget.spend(delivery)
            self._pop(stream)
            if delivery.careful:
                self._careful_left[stream] -= len(delivery.works)
            elif stream in self._entries:
                queue.append(stream)
            yield delivery

    def _head(self, stream: Stream) -> Delivery:
        """The stream's first message, opened when its turn comes; it stays opened until it is taken."""
        head = self._heads.get(stream)
        if head is None:
            partition, lane = stream
            owned, entry = self._owned[partition], self._entries[stream][0]
            head = self._heads[stream] = open_message(
                entry, partition=partition, partitions=self._partitions, lane=lane, epoch=owned.lease.epoch
            )
            head.not_before = owned.lease.last_time
            head.careful = head.arrived_at <= owned.careful_until and self._careful_left[stream] > 0
        return head

    def _is_stopped(self, delivery: Delivery) -> bool:
        return any(work.request and work.request.command.kind in self._stopped for work in delivery.works)

    def _pop(self, stream: Stream) -> None:
        entries = self._entries[stream]
        entries.popleft()
        if not entries:
            del self._entries[stream]
        del self._heads[stream]

    def _begin(self, partition: int, owned: Owned) -> None:
        for lane in Lane:
            self._cursors[partition, lane] = START
            most = CAREFUL_BULK_COMMANDS if lane is Lane.BULK else CAREFUL_COMMANDS
            self._careful_left[partition, lane] = most if owned.careful_until else 0

    def _drop(self, partition: int) -> None:
        for lane in Lane:
            self._entries.pop((partition, lane), None)
            self._heads.pop((partition, lane), None)
            self._cursors.pop((partition, lane), None)
            self._careful_left.pop((partition, lane), None)


class _Budget:
    """How much one unit may still take: touched accounts, and commands (more dearly when they run alone)."""

    def __init__(self, most_commands: int) -> None:
        self._most_commands = most_commands
        self._accounts: set[str] = set()
        self._commands = 0
        self._messages = 0
        self._only_one = False

    def one_more(self) -> "_Budget":
        """A budget for exactly one message, whatever has been taken before."""
        self._messages, self._only_one = 0, True
        return self

    def fits(self, delivery: Delivery) -> bool:
        if self._only_one or not self._messages:
            return not self._messages
        accounts = len(self._accounts.union(_accounts(delivery)))
        return accounts <= UNIT_ACCOUNTS and self._commands + _cost(delivery) <= self._most_commands

    def spend(self, delivery: Delivery) -> None:
        self._accounts.update(_accounts(delivery))
        self._commands += _cost(delivery)
        self._messages += 1


def _cost(delivery: Delivery) -> int:
    return len(delivery.works) * (ALONE_COST if delivery.careful else 1)


def _accounts(delivery: Delivery) -> Iterator[str]:
    """The accounts, or tables, that the commands touch; who is paid by a command of many is touched too."""
    for work in delivery.works:
        if work.request:
            yield work.request.aggregate_id
            match work.request.command:
                case SettlePot(winners=paid) | PayTogether(parts=paid):
                    yield from (each.account_id for each in paid)
