"""Pots as an audit sees them: each record adds up, and the active ones are listed where they are looked for.

A pot and the lists that name it are compared as of one moment; pots that ended in between are listed nowhere.
"""

from collections.abc import Iterable

from app.domain.identifiers import partition_in
from app.domain.pots import Pot
from app.services.faults import StoreRefused
from app.services.verification import (
    Finding,
    Findings,
    Value,
    What,
    check_chips,
    check_pot,
    check_start,
    differing,
)
from app.storage import codec, keys
from app.storage.pictures import Picture, Records, whole
from app.storage.plan import Plan


class Pots:
    """Checks pots, from the lists that name active ones and from the names of all records.

    `miscounted` are the partitions where a table lists other chips than lie in the pot.
    """

    def __init__(self, records: Records, findings: Findings) -> None:
        self._records = records
        self._findings = findings
        self.miscounted: set[int] = set()

    def check_listed(self, partition: int, picture: Picture) -> None:
        """Every pot that a table or the index of active pots names is active, and named by both."""
        self._check(partition, sorted(picture.pots.keys() | picture.starts.keys()))

    def check_all(self) -> None:
        """Every pot there is: its record, its lists, and the ledger entries of what it has paid."""
        for names in self._records.scan(keys.POTS):
            self.check_named(names)

    def check_named(self, names: list[str]) -> None:
        """The same of the pots with these keys."""
        by_partition: dict[int, list[str]] = {}
        for partition, member in filter(None, map(keys.place_in, dict.fromkeys(names))):
            by_partition.setdefault(partition, []).append(member)
        for partition, members in by_partition.items():
            self._check_paid(self._check(partition, members))

    def _check(self, partition: int, members: list[str]) -> list[tuple[str, Pot]]:
        """Look at these pots, `TABLE|HAND`; those that are there and add up, with their keys."""
        plan = Plan()
        names = []
        for member in members:
            table_id, _, hand_id = member.partition("|")
            names.append(keys.pot(partition, table_id, hand_id))
            plan.read("HGET", names[-1], "record")
            plan.read("HGET", keys.table(partition, table_id), keys.pot_field(hand_id))
            plan.read("ZSCORE", keys.active_pots(partition), member)
        replies = iter(self._records.read(plan)[1])
        sound = []
        for where, raw, listed, start in zip(names, replies, replies, replies, strict=True):
            try:
                pot = codec.pot(raw)
            except StoreRefused as refused:
                self._findings.add(differing(What.POT_UNREADABLE, where, None, str(refused)))
                continue
            if self._findings.add(check_chips(pot, _number(listed), where)):
                self.miscounted.add(partition)
                continue
            flaw = check_start(pot, _number(start), where) or (check_pot(pot, where) if pot else None)
            if not self._findings.add(flaw) and pot:
                sound.append((where, pot))
        return sound

    def _check_paid(self, pots: Iterable[tuple[str, Pot]]) -> None:
        """Behind each payment to an account stands its transaction."""
        paid = [
            (where, entry.transaction_id, entry.account_id)
            for where, pot in pots
            for entry in pot.entries
            if entry.transaction_id
        ]
        plan = Plan()
        for _, transaction_id, _ in paid:
            plan.read("GET", keys.transaction(partition_in(transaction_id) or 0, transaction_id))
        for (where, transaction_id, account_id), raw in zip(paid, self._records.read(plan)[1], strict=True):
            self._findings.add(_check_payment(where, transaction_id, account_id, raw))


def _check_payment(where: str, transaction_id: str, account_id: str, raw: bytes | None) -> Finding | None:
    try:
        record = codec.transaction(raw)
    except StoreRefused:
        return None  # it is reported where transactions are looked at
    found = record.account_id if record else None
    return differing(What.POT_DIFFERS, f"{where} {transaction_id}", account_id, found, account_id)


def _number(reply: bytes | None) -> Value:
    """The number that is listed; the text where it is none."""
    if reply is None:
        return None
    number = whole(reply)
    return reply.decode(errors="replace") if number is None else number
