"""What a partition was at one moment: what changed since the last look, and all that must agree with it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from app.domain.ledger import TransactionType
from app.storage import codec, keys
from app.storage.audits.state import AuditedStore
from app.storage.backend import Reply
from app.storage.pictures import Picture, picture_of
from app.storage.plan import Plan

_TYPES = frozenset(TransactionType)
_RESERVATION = "RESERVATION_"
_POT = "POT_"


class Event(NamedTuple):
    """One event of the feed; `subject` is what it names, behind the account where there is one."""

    position: str
    kind: str
    account_id: str
    subject: str

    @property
    def is_entry(self) -> bool:
        """Whether it tells of a ledger entry; its subject is the seq."""
        return self.kind in _TYPES

    @property
    def is_of_hold(self) -> bool:
        """Whether it tells what became of a reservation; its subject is the id."""
        return self.kind.startswith(_RESERVATION)

    @property
    def is_of_pot(self) -> bool:
        """Whether it tells how a pot ended; table and hand stand where others have account and subject."""
        return self.kind.startswith(_POT) and not self.is_entry


@dataclass(slots=True, frozen=True)
class Moment:
    """A partition as far as the events name it. `whole`: they are all there are.

    `gap`: events that were not read yet are gone. `lengths` are those of each account's indexes, `picture`
    has the accounts that events name, and the tables; `empty_tables` are listed and have no chips.
    """

    now: int
    events: list[Event]
    whole: bool
    gap: bool
    picture: Picture
    accounts: int
    empty_tables: list[str]
    lengths: dict[str, dict[TransactionType, int]] = field(default_factory=dict)


def look(store: AuditedStore, partition: int, cursor: str, ahead: dict[str, int], most: int) -> Moment:
    """The events behind the cursor, at most so many, and what they are about.

    It is read again until the events of that very moment name no other account, and the index no other table.
    """
    names: list[str] = []
    tables: list[str] = []
    while True:
        plan = Plan()
        plan.read("XRANGE", keys.events(partition), cursor, "+", "COUNT", most + 2)
        plan.read("SMEMBERS", keys.table_ids(partition))
        plan.read("SCARD", keys.account_ids(partition))
        plan.read("HGETALL", keys.totals(partition))
        plan.read("ZRANGE", keys.active_pots(partition), 0, -1, "WITHSCORES")
        for table_id in tables:
            plan.read("HGETALL", keys.table(partition, table_id))
        for account_id in names:
            _want_account(plan, partition, account_id)
        now, (raw, members, accounts, totals, active, *others) = store.read(plan)
        events = [event_of(entry) for entry in raw]
        begins_with_cursor = bool(events) and events[0].position == cursor
        gap = cursor != "0-0" and not begins_with_cursor
        fresh = events[1:] if begins_with_cursor else events
        whole, fresh = len(fresh) <= most, fresh[:most]
        named = sorted({each.account_id for each in fresh if _is_news(each, ahead)})
        listed = sorted(member.decode(errors="replace") for member in members)
        if (named, listed) == (names, tables):
            pairs, lengths = _accounts(names, others[len(tables) :])
            chips = dict(zip(tables, others, strict=False))
            picture = picture_of(names, (totals, [], active), chips, pairs)
            empty = [table_id for table_id in tables if not chips[table_id]]
            return Moment(now, fresh, whole, gap, picture, accounts, empty, lengths)
        names, tables = named, listed


def event_of(entry: Reply) -> Event:
    """An entry of the feed."""
    position, (kind, subject) = entry[0].decode(), (part.decode(errors="replace") for part in entry[1][:2])
    account_id, _, rest = subject.partition("|")
    return Event(position, kind, account_id, rest)


def _is_news(event: Event, ahead: dict[str, int]) -> bool:
    """Whether the account has to be looked at."""
    if event.is_entry:
        return int(event.subject) > ahead.get(event.account_id, -1)
    return event.is_of_hold


def _want_account(plan: Plan, partition: int, account_id: str) -> None:
    plan.read("HMGET", keys.account(partition, account_id), *codec.ACCOUNT_FIELDS)
    plan.read("HGETALL", keys.holds(partition, account_id))
    for kind in TransactionType:
        plan.read("LLEN", keys.transactions_of(partition, account_id, kind))


def _accounts(
    names: Iterable[str], replies: list[Reply]
) -> tuple[list[Reply], dict[str, dict[TransactionType, int]]]:
    """The pairs of account and holds, and the lengths of the indexes."""
    pairs: list[Reply] = []
    lengths = {}
    found = iter(replies)
    for account_id in names:
        pairs += [next(found), next(found)]
        lengths[account_id] = {kind: next(found) for kind in TransactionType}
    return pairs, lengths
