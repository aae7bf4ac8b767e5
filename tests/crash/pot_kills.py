"""Killing a worker at the commit of a settlement, and looking at once at what became of every hand."""

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Any

import msgspec

from app.domain.identifiers import house_of, partition_of
from app.storage import keys
from app.storage.backend import Backend
from app.storage.plan import Plan
from tests.support.proxy import Proxy
from tests.support.workers import WorkerProcess

PARTITIONS = 4
APPLIED = b":"
_SETTLED = re.compile(rb'"tableId":"([^"]+)","handId":"([^"]+)","status":"SETTLED"')
"""In the record that a settlement writes, and in no other commit."""
SEGMENTS, LATEST = 16, 200
"""Of a ledger: a hand that is being played is among the latest entries."""


class Moment(Enum):
    """Where a worker is when it is killed: it has read the settlement, and nobody has its answer yet."""

    BEFORE_COMMIT = "before its commit"
    AFTER_COMMIT = "after its commit"


@dataclass(frozen=True)
class Hand:
    """A hand that is being played: its table, and who may win it."""

    table_id: str
    hand_id: str
    players: tuple[str, ...]


@dataclass(frozen=True)
class Seen:
    """What the store has of a hand: `paid` and `raked` by the ledgers, its status by the pot's record.

    `half` says why it is neither a hand that is paid whole nor one that is not paid at all.
    """

    hand: Hand
    status: str
    paid: dict[str, int]
    raked: int
    half: str


@dataclass(frozen=True)
class Kill:
    """A worker was killed: the hands that it was about to settle, or just had, and those played elsewhere."""

    line: "KillingLine"
    moment: Moment
    struck: list[Seen]
    others: list[Seen]


Names = tuple[str, str]
"""Table and hand."""


class Killer:
    """Kills the next worker that comes to the moment it waits for, and then looks at the hands."""

    def __init__(self, look: Callable[[list[Names]], tuple[list[Seen], list[Seen]]]) -> None:
        self.kills: list[Kill] = []
        self._look = look
        self._wanted: Moment | None = None
        self._lock = threading.Lock()

    def wait_for(self, moment: Moment) -> None:
        """Kill one worker there."""
        self._wanted = moment

    def kill(self, number: int) -> Kill | None:
        """The kill of that number, from 0, once it has been."""
        return self.kills[number] if number < len(self.kills) else None

    def strikes(self, line: "KillingLine", moment: Moment, request: bytes) -> bool:
        """Called by a line with a request on its way; True when its worker is dead now."""
        with self._lock:
            if self._wanted is not moment or not (found := _SETTLED.findall(request)):
                return False
            self._wanted = None
            line.worker.kill()
            names = [(table.decode(), hand.decode()) for table, hand in found]
            self.kills.append(Kill(line, moment, *self._look(names)))
            return True


class KillingLine(Proxy):
    """The line of one worker to the store; whoever follows a dead one gets the same."""

    worker: WorkerProcess

    def __init__(self, store_url: str, killer: Killer) -> None:
        super().__init__(store_url, lambda _: None, Random(0), 0)
        self._killer = killer

    def lets_pass(self, request: bytes) -> bool:
        return not self._killer.strikes(self, Moment.BEFORE_COMMIT, request)

    def lets_back(self, request: bytes, reply: bytes) -> bool:
        return not (reply.startswith(APPLIED) and self._killer.strikes(self, Moment.AFTER_COMMIT, request))


def look(backend: Backend, hand: Hand) -> Seen:
    """The hand as the store has it at one moment."""
    home = partition_of(hand.table_id, PARTITIONS)
    accounts = [*hand.players, house_of(home)]
    plan = Plan()
    plan.read("HGET", keys.pot(home, hand.table_id, hand.hand_id), "record")
    plan.read("HGET", keys.table(home, hand.table_id), keys.pot_field(hand.hand_id))
    for account_id in accounts:
        for segment in range(SEGMENTS):
            ledger = keys.ledger(partition_of(account_id, PARTITIONS), account_id, segment)
            plan.read("LRANGE", ledger, -LATEST, -1)
    raw, listed, *ledgers = backend.read(plan)[1]
    entries = [msgspec.json.decode(element.partition(b" ")[2]) for ledger in ledgers for element in ledger]
    of_hand = [
        each
        for each in entries
        if (each["metadata"].get("tableId"), each["metadata"].get("handId")) == (hand.table_id, hand.hand_id)
    ]
    paid = {each["accountId"]: each["amount"] for each in of_hand if each["type"] == "POT_WIN"}
    raked = sum(each["amount"] for each in of_hand if each["type"] == "RAKE")
    pot = msgspec.json.decode(raw) if raw else {"status": "NOT YET"}
    return Seen(hand, pot["status"], paid, raked, _half(pot, listed, paid, raked))


def _half(pot: dict[str, Any], listed: bytes | None, paid: dict[str, int], raked: int) -> str:
    """Why the hand is half paid; "" when it is not."""
    if pot["status"] == "SETTLED":
        to_accounts = {each["accountId"]: each["amount"] for each in pot["results"] if each["transactionId"]}
        expected: tuple[dict[str, int], int, bytes | None] = (to_accounts, pot["rakeAmount"], None)
    else:
        chips = str(pot["total"]).encode() if pot["status"] == "ACTIVE" else None
        expected = ({}, 0, chips)
    found = (paid, raked, listed)
    return "" if found == expected else f"{found} instead of {expected} in {pot}"
