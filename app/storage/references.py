"""Records that refer to each other: holds and reservations, transaction records and ledger entries.

From their owners they are found through indexes. What no index names, an orphan, only a walk over the names
of all records can find.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple, TypeVar

from app.domain.ledger import BrokenChain, LedgerEntry, unseal
from app.domain.records import TransactionRecord
from app.domain.reservations import HELD, Reservation
from app.services.faults import StoreRefused
from app.services.verification import (
    Findings,
    What,
    check_held,
    check_hold,
    check_origin,
    check_reserved,
    differing,
)
from app.storage import codec, keys
from app.storage.pictures import Picture, Records, hold_of, whole
from app.storage.plan import Plan

CHUNK = 500
"""Holds looked at in one call."""

Item = TypeVar("Item")


class Place(NamedTuple):
    """A record's name, taken apart."""

    name: str
    partition: int
    record_id: str


class Held(NamedTuple):
    """One hold as its account's index keeps it."""

    account_id: str
    reservation_id: str
    raw: bytes


class References:
    """Checks that what a record names is there, and names it too."""

    def __init__(self, records: Records, findings: Findings) -> None:
        self._records = records
        self._findings = findings

    def check_holds(self, partition: int, picture: Picture) -> None:
        """Every hold has its reservation and its time in the expiry index, and they add up."""
        holds = picture.holds
        flawed = self.check_holds_of(partition, holds)
        held = {reservation_id for of_account in holds.values() for reservation_id in of_account}
        for chunk in _chunks(sorted(picture.expiry.keys() - held)):
            flawed |= self.check_scheduled(partition, chunk)
        for account_id, account in picture.accounts.items():
            if account_id not in flawed:
                where = keys.account(partition, account_id)
                self._findings.add(check_reserved(account, picture.held(account_id), where))

    def check_holds_of(self, partition: int, holds: dict[str, dict[str, bytes]]) -> set[str]:
        """The accounts whose holds are wrong, of these holds by account and reservation."""
        found = [Held(owner, *hold) for owner, held in holds.items() for hold in held.items()]
        return {flawed for chunk in _chunks(found) for flawed in self._check_holds(partition, chunk)}

    def check_beside(self, partition: int, picture: Picture) -> set[str]:
        """The same of the accounts in the picture alone; those whose holds are wrong.

        Where a sum is wrong, the index of expiry may know of a hold that is missing.
        """
        flawed = self.check_holds_of(partition, picture.holds)
        differ = [
            account
            for account_id, account in picture.accounts.items()
            if account_id not in flawed and account.reserved != picture.held(account_id)
        ]
        if differ:
            flawed |= self.check_expiry(partition, picture, flawed)
        for account in differ:
            if account.account_id not in flawed:
                where, held = keys.account(partition, account.account_id), picture.held(account.account_id)
                self._findings.add(check_reserved(account, held, where))
        return flawed

    def check_expiry(self, partition: int, picture: Picture, flawed: set[str]) -> set[str]:
        """Every reservation in the index of expiry is held; the accounts that lack a hold.

        Those of which the holds of flawed accounts tell are not looked at once more.
        """
        known = {reservation_id for each in flawed for reservation_id in picture.holds.get(each, ())}
        lacking: set[str] = set()
        first, found = 0, [b""]
        while found:
            plan = Plan()
            plan.read("ZRANGE", keys.reservation_expiry(partition), first, first + CHUNK - 1)
            (found,) = self._records.read(plan)[1]
            ids = {member.decode(errors="replace") for member in found}
            lacking |= self.check_scheduled(partition, sorted(ids - known))
            first += CHUNK
        return lacking

    def check_scheduled(self, partition: int, reservation_ids: list[str]) -> set[str]:
        """The accounts that lack a hold, of these reservations that the expiry index names."""
        places = [_place(partition, each) for each in reservation_ids]
        owners = {
            place.record_id: found.account_id
            for place, found in self._reservations(places, self._get(places))
            if found
        }
        plan = Plan()
        for place in places:
            plan.read("ZSCORE", keys.reservation_expiry(partition), place.record_id)
            plan.read("GET", place.name)
            plan.read("HGET", keys.holds(partition, owners.get(place.record_id, "")), place.record_id)
        replies = iter(self._records.read(plan)[1])
        flawed = set()
        for place, due, raw, hold in zip(places, replies, replies, replies, strict=True):
            for _, reservation in self._reservations([place], [raw]) if due else ():
                if self._check_scheduled(partition, place, due, reservation, is_held=hold is not None):
                    flawed.add(reservation.account_id if reservation else "")
        return flawed

    def check_reservations(self) -> int:
        """Every HELD reservation is among the holds of its account; how many reservations there are."""
        count = 0
        for names in self._records.scan(keys.RESERVATIONS):
            count += self.check_reservations_named(names)
        return count

    def check_reservations_named(self, names: list[str]) -> int:
        """The same of the reservations with these keys."""
        places = _places(names)
        self._check_held(places)
        return len(places)

    def check_transactions(self, broken: set[str], on_records: Callable[[int], None]) -> None:
        """Every transaction record names the entry of that transaction, unless its account is `broken`."""
        for names in self._records.scan(keys.TRANSACTIONS):
            on_records(self.check_transactions_named(names, broken))

    def check_transactions_named(self, names: list[str], broken: set[str]) -> int:
        """The same of the transaction records with these keys."""
        places = _places(names)
        self._check_origins(places, broken)
        return len(places)

    def _check_holds(self, partition: int, holds: list[Held]) -> set[str]:
        """The accounts whose holds are wrong. One that has ended since it was read is not looked at."""
        plan = Plan()
        for hold in holds:
            plan.read("HGET", keys.holds(partition, hold.account_id), hold.reservation_id)
            plan.read("GET", keys.reservation(partition, hold.reservation_id))
            plan.read("ZSCORE", keys.reservation_expiry(partition), hold.reservation_id)
        replies = iter(self._records.read(plan)[1])
        return {
            hold.account_id
            for hold, now, record, due in zip(holds, replies, replies, replies, strict=True)
            if now == hold.raw and self._is_flawed(partition, hold, record, due)
        }

    def _is_flawed(self, partition: int, held: Held, record: bytes | None, due: bytes | None) -> bool:
        account_id, reservation_id, raw = held
        found = list(self._reservations([_place(partition, reservation_id)], [record], account_id))
        if not found:
            return True
        hold, time = hold_of(raw), None if due is None else whole(due)
        where = f"{keys.holds(partition, account_id)} {reservation_id}"
        schedule = f"{keys.reservation_expiry(partition)} {reservation_id}"
        return self._findings.add(
            check_hold(account_id, hold, found[0][1], where)
            or differing(What.EXPIRY_DIFFERS, schedule, hold.expires_at, time, account_id)
        )

    def _check_scheduled(
        self, partition: int, place: Place, due: bytes, reservation: Reservation | None, *, is_held: bool
    ) -> bool:
        if reservation and reservation.status == HELD:
            return self._findings.add(check_held(reservation, is_held=is_held, where=place.name))
        schedule = f"{keys.reservation_expiry(partition)} {place.record_id}"
        self._findings.add(differing(What.EXPIRY_DIFFERS, schedule, None, whole(due)))
        return False

    def _check_held(self, places: list[Place]) -> None:
        """A record names its account, so it takes a second read to see both at one moment."""
        found = self._reservations(places, self._get(places))
        held = [
            (place, reservation) for place, reservation in found if reservation and reservation.status == HELD
        ]
        plan = Plan()
        for place, reservation in held:
            plan.read("HGET", keys.holds(place.partition, reservation.account_id), place.record_id)
            plan.read("GET", place.name)
        replies = self._records.read(plan)[1]
        is_held = {place: hold is not None for (place, _), hold in zip(held, replies[::2], strict=True)}
        for place, now in self._reservations(is_held, replies[1::2]):
            if now:
                self._findings.add(check_held(now, is_held=is_held[place], where=place.name))

    def _check_origins(self, places: list[Place], broken: set[str]) -> None:
        found = [each for each in self._transactions(places) if each[1].account_id not in broken]
        wanted = []
        for place, record in found:
            ledger = keys.ledger(place.partition, record.account_id, keys.segment_of(record.seq))
            wanted.append((ledger, *keys.places_of(record.seq)))
        for (place, record), elements in zip(found, self._records.ranges(wanted), strict=True):
            if not _tells_of(elements, place.record_id, record.seq):
                entry = _entry_among(elements, record.seq)
                self._findings.add(check_origin(place.record_id, record, entry, place.name))

    def _reservations(
        self, places: Iterable[Place], raws: Iterable[bytes | None], account_id: str | None = None
    ) -> Iterator[tuple[Place, Reservation | None]]:
        """The reservations; those that cannot be read are reported instead."""
        for place, raw in zip(places, raws, strict=True):
            try:
                yield place, codec.reservation(raw)
            except StoreRefused as refused:
                what, why = What.RESERVATION_UNREADABLE, str(refused)
                self._findings.add(differing(what, place.name, None, why, account_id))

    def _transactions(self, places: list[Place]) -> Iterator[tuple[Place, TransactionRecord]]:
        for place, raw in zip(places, self._get(places), strict=True):
            try:
                record = codec.transaction(raw)
            except StoreRefused as refused:
                self._findings.add(differing(What.TRANSACTION_UNFOUNDED, place.name, None, str(refused)))
            else:
                if record:
                    yield place, record

    def _get(self, places: list[Place]) -> list[bytes | None]:
        return self._records.many([place.name for place in places])


def _places(names: list[str]) -> list[Place]:
    taken_apart = ((name, keys.place_in(name)) for name in dict.fromkeys(names))
    return [Place(name, *place) for name, place in taken_apart if place]


def _place(partition: int, reservation_id: str) -> Place:
    return Place(keys.reservation(partition, reservation_id), partition, reservation_id)


def _chunks(items: list[Item]) -> Iterator[list[Item]]:
    remaining = iter(items)
    while chunk := list(islice(remaining, CHUNK)):
        yield chunk


def _tells_of(elements: list[bytes], transaction_id: str, seq: int) -> bool:
    """Whether an element has these members: no text within it can, for there a quotation mark is escaped.

    That the element is what its checksum says is for those who follow the ledger.
    """
    named, placed = b'"transactionId":"%s"' % transaction_id.encode(), b'"seq":%d,' % seq
    return any(named in element and placed in element for element in elements)


def _entry_among(elements: list[bytes], seq: int) -> LedgerEntry | None:
    for element in elements:
        try:
            _, entry = unseal(element)
        except BrokenChain:
            continue
        if entry.seq == seq:
            return entry
    return None
