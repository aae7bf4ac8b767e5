"""Units of work on the in-memory twin: one who sends commands, owners who carry them out, and what is left.

Time stands still unless a test moves the server's clock.
"""

import json
from collections import defaultdict, deque
from collections.abc import Callable
from hashlib import sha256
from itertools import count
from typing import Any, TypeVar

import msgspec

from app.domain.accounts import Account
from app.domain.commands import Command
from app.domain.dead_letters import DeadLetter
from app.domain.identifiers import derive_id, partition_of
from app.domain.outcomes import Answer
from app.domain.policy import Policy
from app.domain.reservations import EXPIRED
from app.domain.state import State
from app.queueing.envelope import encode_message, open_message, route_envelope, seal
from app.queueing.hand import Hand
from app.queueing.limits import LEASE_MS
from app.queueing.ownership import Owned
from app.services.execution import Execution
from app.services.faults import StoreUnavailable
from app.services.ports import Wanted
from app.services.queue import Entry, Lane
from app.services.stops import FaultWatch
from app.services.work import Delivery, Unit
from app.storage import keys
from app.storage.backend import Reply
from app.storage.backends.memory import MemoryBackend, MemoryServer
from app.storage.backends.memory_values import apply
from app.storage.plan import Plan
from app.storage.store import BalanceStore

PARTITIONS = 4
FRONT = "front-1"
POLICY = Policy(partitions=PARTITIONS)
T = TypeVar("T")
Step = Callable[[], None]

_answers = msgspec.json.Decoder(list[tuple[str, list[Answer]]]).decode


def named(name: str, partition: int) -> str:
    """An id that begins with the name and lies in the partition."""
    return next(
        each for each in (f"{name}{n}" for n in count()) if partition_of(each, PARTITIONS) == partition
    )


ALICE, BOB, CAROL = named("alice", 0), named("bob", 1), named("carol", 2)
ANNA = named("anna", 0)
"""Anna's account lies in the partition of Alice's."""


def sealed(command: Command, key: str | None = None, *, remaining_ms: int = 0) -> msgspec.Raw:
    """The command in its envelope, under key `k` where it takes one."""
    if key is None:
        key = "k" if command.keyed else ""
    return seal(command, key=key, command_id="c-1", remaining_ms=remaining_ms, reply_to=FRONT)


def reservation_id(account_id: str, key: str) -> str:
    """The id of the reservation that this key makes."""
    return derive_id(partition_of(account_id, PARTITIONS), "Reserve", account_id, key)


class ScriptedBackend(MemoryBackend):
    """A connection on which things happen: at its n-th read or commit, before the call or after it."""

    def __init__(self, server: MemoryServer) -> None:
        super().__init__(server)
        self.made: dict[str, int] = defaultdict(int)
        self._script: dict[str, deque[tuple[Step | None, Step | None]]] = defaultdict(deque)

    def script(self, call: str, *, before: Step | None = None, after: Step | None = None) -> None:
        """What happens at the next `read` or `commit` that has nothing planned yet."""
        self._script[call].append((before, after))

    def read(self, plan: Plan) -> tuple[int, list[Reply]]:
        return self._play("read", lambda: MemoryBackend.read(self, plan))

    def commit(self, plan: Plan) -> list[int]:
        return self._play("commit", lambda: MemoryBackend.commit(self, plan))

    def _play(self, call: str, make: Callable[[], T]) -> T:
        self.made[call] += 1
        planned = self._script[call]
        before, after = planned.popleft() if planned else (None, None)
        if before:
            before()
        result = make()
        if after:
            after()
        return result


def go_away() -> None:
    """The connection breaks: what becomes of the call is not known."""
    raise StoreUnavailable("the connection broke")


class Owner:
    """A worker that owns partitions: takes what waits there, as a consumer would, and carries it out."""

    def __init__(
        self,
        server: MemoryServer,
        partitions: list[int],
        *,
        name: str = "owner",
        policy: Policy,
        watch: FaultWatch | None = None,
    ) -> None:
        self.backend = ScriptedBackend(server)
        store = BalanceStore(self.backend, PARTITIONS, policy.refusal_ttl_ms)
        self.execution = Execution(store, policy, watch)
        self.owned: dict[int, Owned] = {}
        self._hand = Hand(PARTITIONS, watch.stopped if watch else ())
        self.acquire(name, partitions)

    def acquire(self, name: str, partitions: list[int]) -> None:
        """Take those of the partitions that are free, or whose lease has lapsed."""
        now, leases = self.backend.acquire(name, partitions, LEASE_MS, len(partitions))
        self.owned = {each.partition: Owned(each, careful_until=0 if each.clean else now) for each in leases}
        self._hand.sync(self.owned)

    def take(self) -> Unit | None:
        """The next unit of what waits."""
        self._hand.take_in(self.backend.take(self._hand.cursors(), count=1000, block_ms=0))
        return self._hand.next_unit()

    def work(self) -> frozenset[int]:
        """Carry out all that waits; the partitions that turned out to be lost."""
        lost: frozenset[int] = frozenset()
        while unit := self.take():
            lost |= self.execution.run(unit)
            if unit.abandoned:
                self._hand.rewind()
        return lost

    def begin_again(self) -> frozenset[int]:
        """Read everything from the queues once more, as after a store that was away, and carry it out."""
        self._hand.rewind()
        return self.work()


class Scene:
    """A server, the front end `FRONT`, and whatever a test wants to know of what they keep."""

    def __init__(self) -> None:
        self.server = MemoryServer()
        self._front = MemoryBackend(self.server)
        self._store = BalanceStore(self._front, PARTITIONS, 1)
        self._message_ids = (f"m{number}" for number in count(1))

    def owner(
        self,
        partitions: list[int] | None = None,
        *,
        name: str = "owner",
        policy: Policy | None = None,
        watch: FaultWatch | None = None,
    ) -> Owner:
        """A worker that has just acquired these partitions, all of them by default."""
        wanted = list(range(PARTITIONS)) if partitions is None else partitions
        return Owner(self.server, wanted, name=name, policy=policy or POLICY, watch=watch)

    def next_owner(
        self,
        partitions: list[int] | None = None,
        *,
        policy: Policy | None = None,
        watch: FaultWatch | None = None,
    ) -> Owner:
        """The worker that takes over once the leases of the one before have lapsed."""
        self.server.now += LEASE_MS
        name = f"owner at {self.server.now}"
        return self.owner(partitions, name=name, policy=policy, watch=watch)

    def send(self, *envelopes: msgspec.Raw, lane: Lane = Lane.INTERACTIVE) -> str:
        """Queue one message with these commands of one partition; its id."""
        partition = route_envelope(bytes(envelopes[0]), PARTITIONS)
        assert partition is not None
        message_id = next(self._message_ids)
        self.send_text(partition, encode_message(list(envelopes), message_id), lane)
        return message_id

    def send_text(self, partition: int, text: str | bytes, lane: Lane = Lane.INTERACTIVE) -> str:
        """Queue whatever this is; its entry id."""
        entry_id: str = apply(self.server, "XADD", keys.queue(partition, lane), ["*", "m", text])
        return entry_id

    def meanwhile(self, owner: Owner, *envelopes: msgspec.Raw) -> None:
        """Somebody else carries these out under the same leases: that is what commits compare for."""
        partition = route_envelope(bytes(envelopes[0]), PARTITIONS)
        assert partition is not None
        entry = Entry(f"{self.server.now}-0", encode_message(list(envelopes), "meanwhile").encode())
        Execution(self._store, POLICY).run(Unit([self.opened(entry, partition, owner)]))

    def opened(self, entry: Entry, partition: int, owner: Owner) -> Delivery:
        """The delivery that the owner makes of an entry of its queue."""
        epoch = owner.owned[partition].lease.epoch
        return open_message(
            entry, partition=partition, partitions=PARTITIONS, lane=Lane.INTERACTIVE, epoch=epoch
        )

    def told(self, message_id: str) -> list[list[Answer]]:
        """All answers to a message, in the order in which they were given."""
        stream = self.server.value(keys.results(FRONT))
        sent = (
            [answer for each in stream.entries.values() for answer in _answers(each.payload)]
            if stream
            else []
        )
        return [answers for to, answers in sent if to == message_id]

    def answers(self, message_id: str) -> list[Answer]:
        """The one answer to a message."""
        (answers,) = self.told(message_id)
        return answers

    def waiting(self, partition: int | None = None) -> int:
        """How many messages are in the queues, or in those of one partition."""
        wanted = range(PARTITIONS) if partition is None else [partition]
        streams = [self.server.value(keys.queue(each, lane)) for each in wanted for lane in Lane]
        return sum(len(stream.order) for stream in streams if stream)

    def account(self, account_id: str) -> Account:
        """The account, as a worker would load it."""
        state = State()
        self._store.load(Wanted(accounts={account_id}), state)
        account = state.accounts[account_id]
        assert account is not None
        return account

    def elements(self, account_id: str) -> list[bytes]:
        """The account's whole ledger, as it is stored: to be read, or to be spoiled."""
        partition = partition_of(account_id, PARTITIONS)
        segments = (self.server.value(keys.ledger(partition, account_id, number)) for number in count())
        found: list[bytes] = []
        for segment in segments:
            if segment is None:
                return found
            found += segment
        raise AssertionError

    def amounts(self, account_id: str) -> list[int]:
        """The signed chips of the account's ledger, in order."""
        return [json.loads(element.partition(b" ")[2])["amount"] for element in self.elements(account_id)]

    def dead_letters(self, partition: int) -> list[DeadLetter]:
        """What is parked in a partition, in the order in which it was."""
        raw: dict[str, bytes] = self.server.value(keys.dead_letters(partition)) or {}
        return [msgspec.json.decode(each, type=DeadLetter) for each in raw.values()]

    def hash_of(self, key: str) -> dict[str, Any]:
        """The hash at a key, for a test that looks at it or writes over it."""
        found: dict[str, Any] = self.server.data.setdefault(key, {})
        return found

    def audit(self) -> None:
        """Recompute every balance, chain, hold and total from the records alone."""
        totals: dict[str, int] = defaultdict(int)
        for partition in range(PARTITIONS):
            for account_id in self.server.value(keys.account_ids(partition)) or ():
                self._audit_account(partition, account_id, totals)
            for name, amount in (self.server.value(keys.totals(partition)) or {}).items():
                totals[name] -= int(amount)
        for key, value in self.server.data.items():
            if key.startswith(keys.TABLES):
                totals["CHIPS|inPlay"] += sum(map(int, value.values()))
            elif key.startswith(keys.RESERVATIONS):
                totals["expired"] += json.loads(value)["status"] == EXPIRED
        assert {name: amount for name, amount in totals.items() if amount} == {}

    def _audit_account(self, partition: int, account_id: str, totals: dict[str, int]) -> None:
        account = {
            name: text.decode() for name, text in self.hash_of(keys.account(partition, account_id)).items()
        }
        previous, balance, entries = "GENESIS", 0, 0
        for element in self.elements(account_id):
            digest, _, text = element.decode().partition(" ")
            entry = json.loads(text)
            assert sha256(text.encode()).hexdigest() == digest
            assert (entry["previousChecksum"], entry["balanceBefore"]) == (previous, balance)
            record = json.loads(self.server.data[keys.transaction(partition, entry["transactionId"])])
            assert (record["accountId"], record["seq"]) == (account_id, entry["seq"])
            assert (
                str(entry["seq"]).encode()
                in self.server.data[keys.transactions_of(partition, account_id, entry["type"])]
            )
            previous, balance, entries = digest, entry["balanceAfter"], entries + 1
            assert balance == entry["balanceBefore"] + entry["amount"] >= 0
            totals[f"CHIPS|type|{entry['type']}"] += entry["amount"]
            assert entry["seq"] <= int(account["version"])
        assert (account["checksum"], int(account["balance"])) == (previous, balance)
        holds = self.server.value(keys.holds(partition, account_id)) or {}
        held = sum(int(hold.partition(b"|")[0]) for hold in holds.values())
        assert held == int(account["reserved"])
        totals["CHIPS|balances"] += balance
        totals["CHIPS|held"] += held
        totals["accounts"] += 1
        totals["entries"] += entries
