"""Damages to the store of `Books.play`, each planted by hand, with the findings that an audit must report."""

from collections.abc import Callable
from typing import Any

import msgspec

from app.domain.identifiers import partition_of
from app.domain.ledger import TransactionType
from app.services.verification import What
from app.storage import keys
from tests.support.books import PARTITIONS

Call = Callable[..., Any]
Expected = list[tuple[What, str, int | None]]
"""Findings: what, where, and the first bad entry."""
Damage = Callable[[Call], Expected]

DAMAGES: list[Damage] = []


def planted(damage: Damage) -> Damage:
    DAMAGES.append(damage)
    return damage


def home(account_id: str) -> int:
    return partition_of(account_id, PARTITIONS)


def ledger(account_id: str, segment: int = 0) -> str:
    return keys.ledger(home(account_id), account_id, segment)


def account(account_id: str) -> str:
    return keys.account(home(account_id), account_id)


def index(account_id: str, kind: TransactionType) -> str:
    return keys.transactions_of(home(account_id), account_id, kind)


def entry(call: Call, account_id: str, place: int) -> dict[str, Any]:
    element = call("LINDEX", ledger(account_id), place)
    found: dict[str, Any] = msgspec.json.decode(element.partition(b" ")[2])
    return found


def transaction(call: Call, account_id: str, place: int) -> str:
    return keys.transaction(home(account_id), entry(call, account_id, place)["transactionId"])


def hold(call: Call, account_id: str) -> tuple[str, str]:
    """The id of the account's one hold, and what its index says of it."""
    reservation_id, value = call("HGETALL", keys.holds(home(account_id), account_id))
    return reservation_id.decode(), value.decode()


# The ledger of alice holds the entries 0 to 4, that of bob 1 to 5.


@planted
def amount_edited(call: Call) -> Expected:
    element = call("LINDEX", ledger("alice"), 2)
    call("LSET", ledger("alice"), 2, element.replace(b'"amount":50,', b'"amount":5000,'))
    return [(What.ENTRY_ALTERED, ledger("alice"), 2)]


@planted
def first_amount_edited(call: Call) -> Expected:
    element = call("LINDEX", ledger("alice"), 0)
    call("LSET", ledger("alice"), 0, element.replace(b'"amount":1000,', b'"amount":9000,'))
    return [(What.ENTRY_ALTERED, ledger("alice"), 0)]


@planted
def checksum_edited(call: Call) -> Expected:
    element = call("LINDEX", ledger("bob"), 3)
    call("LSET", ledger("bob"), 3, b"f" * 64 + element[64:])
    return [(What.ENTRY_ALTERED, ledger("bob"), 4)]


@planted
def entry_deleted(call: Call) -> Expected:
    call("LREM", ledger("alice"), 1, call("LINDEX", ledger("alice"), 3))
    return [(What.ENTRY_OUT_OF_PLACE, ledger("alice"), 3)]


@planted
def entries_swapped(call: Call) -> Expected:
    one, other = call("LRANGE", ledger("bob"), 1, 2)
    call("LSET", ledger("bob"), 1, other)
    call("LSET", ledger("bob"), 2, one)
    return [(What.ENTRY_OUT_OF_PLACE, ledger("bob"), 2)]


@planted
def tail_truncated(call: Call) -> Expected:
    call("RPOP", ledger("alice"))
    return [(What.ENTRY_MISSING, ledger("alice"), 4)]


@planted
def ledger_deleted(call: Call) -> Expected:
    call("DEL", ledger("bob"))
    return [(What.ENTRY_MISSING, ledger("bob"), 1)]


@planted
def entry_appended(call: Call) -> Expected:
    call("RPUSH", ledger("bob"), call("LINDEX", ledger("bob"), -1))
    return [(What.ENTRY_OUT_OF_PLACE, ledger("bob"), 6)]


@planted
def balance_edited(call: Call) -> Expected:
    call("HINCRBY", account("carol"), "balance", 1)
    return [(What.BALANCE_DIFFERS, f"{account('carol')} balance", None)]


@planted
def head_edited(call: Call) -> Expected:
    call("HSET", account("carol"), "checksum", "f" * 64)
    return [(What.HEAD_DIFFERS, f"{account('carol')} checksum", None)]


@planted
def version_edited(call: Call) -> Expected:
    call("HSET", account("carol"), "version", 99)
    return [(What.HEAD_DIFFERS, f"{account('carol')} version", None)]


@planted
def head_lowered(call: Call) -> Expected:
    call("HSET", account("bob"), "seq", 3)
    return [(What.HEAD_DIFFERS, f"{account('bob')} checksum", None)]


@planted
def head_raised(call: Call) -> Expected:
    call("HSET", account("bob"), "seq", 10**15)
    return [(What.ENTRY_MISSING, ledger("bob"), 6)]


@planted
def head_denied(call: Call) -> Expected:
    call("HSET", account("bob"), "seq", -7)
    return [(What.HEAD_DIFFERS, f"{account('bob')} checksum", None)]


@planted
def account_lost(call: Call) -> Expected:
    call("DEL", account("empty"))
    return [(What.ACCOUNT_UNREADABLE, account("empty"), None)]


@planted
def account_garbled(call: Call) -> Expected:
    call("HSET", account("dave"), "balance", "much")
    return [(What.ACCOUNT_UNREADABLE, account("dave"), None)]


@planted
def hold_forged(call: Call) -> Expected:
    holds = keys.holds(home("dave"), "dave")
    call("HSET", holds, "001-forged", "500|9999999999999")
    return [(What.HOLD_UNFOUNDED, f"{holds} 001-forged", None)]


@planted
def hold_edited(call: Call) -> Expected:
    holds = keys.holds(home("alice"), "alice")
    reservation_id, value = hold(call, "alice")
    call("HSET", holds, reservation_id, value.replace("40|", "4|"))
    return [(What.HOLD_DIFFERS, f"{holds} {reservation_id}", None)]


@planted
def hold_garbled(call: Call) -> Expected:
    holds = keys.holds(home("alice"), "alice")
    reservation_id, _ = hold(call, "alice")
    call("HSET", holds, reservation_id, "some")
    return [(What.HOLD_DIFFERS, f"{holds} {reservation_id}", None)]


@planted
def hold_lost(call: Call) -> Expected:
    reservation_id, _ = hold(call, "alice")
    call("HDEL", keys.holds(home("alice"), "alice"), reservation_id)
    return [(What.HOLD_MISSING, keys.reservation(home("alice"), reservation_id), None)]


@planted
def reservation_lost(call: Call) -> Expected:
    reservation_id, _ = hold(call, "alice")
    call("DEL", keys.reservation(home("alice"), reservation_id))
    return [(What.HOLD_UNFOUNDED, f"{keys.holds(home('alice'), 'alice')} {reservation_id}", None)]


@planted
def reservation_garbled(call: Call) -> Expected:
    reservation_id, _ = hold(call, "alice")
    name = keys.reservation(home("alice"), reservation_id)
    call("SET", name, "{")
    return [(What.RESERVATION_UNREADABLE, name, None)]


@planted
def reservation_forged(call: Call) -> Expected:
    """HELD by its own word alone: neither its account nor the expiry index knows it."""
    reservation_id, _ = hold(call, "alice")
    record = call("GET", keys.reservation(home("alice"), reservation_id))
    forged = keys.reservation(home("alice"), "000-forged")
    call("SET", forged, record)
    return [(What.HOLD_MISSING, forged, None)]


@planted
def reserved_edited(call: Call) -> Expected:
    call("HINCRBY", account("bob"), "reserved", 5)
    return [(What.RESERVED_DIFFERS, f"{account('bob')} reserved", None)]


@planted
def expiry_lost(call: Call) -> Expected:
    reservation_id, _ = hold(call, "bob")
    expiry = keys.reservation_expiry(home("bob"))
    call("ZREM", expiry, reservation_id)
    return [(What.EXPIRY_DIFFERS, f"{expiry} {reservation_id}", None)]


@planted
def expiry_left_over(call: Call) -> Expected:
    expiry = keys.reservation_expiry(home("bob"))
    call("ZADD", expiry, 1_700_000_000_000, "001-forgotten")
    return [(What.EXPIRY_DIFFERS, f"{expiry} 001-forgotten", None)]


@planted
def index_entry_lost(call: Call) -> Expected:
    name = index("bob", TransactionType.WITHDRAW)
    call("LREM", name, 1, 3)
    return [(What.INDEX_DIFFERS, name, 3)]


@planted
def index_entry_edited(call: Call) -> Expected:
    name = index("alice", TransactionType.DEPOSIT)
    call("LSET", name, 1, "x")
    return [(What.INDEX_DIFFERS, name, 1)]


@planted
def index_entry_forged(call: Call) -> Expected:
    name = index("bob", TransactionType.PAYOUT)
    call("RPUSH", name, 3)
    return [(What.INDEX_DIFFERS, name, None)]


@planted
def transaction_edited(call: Call) -> Expected:
    name = transaction(call, "carol", 1)
    call("SET", name, call("GET", name).replace(b'"seq":2', b'"seq":1'))
    return [(What.TRANSACTION_DIFFERS, name, 2)]


@planted
def transaction_lost(call: Call) -> Expected:
    name = transaction(call, "carol", 1)
    call("DEL", name)
    return [(What.TRANSACTION_DIFFERS, name, 2)]


@planted
def transaction_garbled(call: Call) -> Expected:
    name = transaction(call, "carol", 1)
    call("SET", name, "{}")
    return [(What.TRANSACTION_DIFFERS, name, 2)]


@planted
def transaction_forged(call: Call) -> Expected:
    """Whoever repeats that key would be told of an entry that is another's."""
    forged = keys.transaction(home("carol"), "000-forged")
    call("SET", forged, call("GET", transaction(call, "carol", 1)))
    return [(What.TRANSACTION_UNFOUNDED, forged, 2)]


@planted
def transaction_ahead(call: Call) -> Expected:
    forged = keys.transaction(home("carol"), "000-forged")
    record = call("GET", transaction(call, "carol", 1))
    call("SET", forged, record.replace(b'"seq":2', b'"seq":2000'))
    return [(What.TRANSACTION_UNFOUNDED, forged, 2000)]


@planted
def answer_edited(call: Call) -> Expected:
    """Who commits the hold again would be told of a balance that never was."""
    home_of = home("alice")
    bought_in = transaction_of(call, "alice", TransactionType.BUY_IN)
    (name,) = [
        each
        for each in (name.decode() for name in call("KEYS", f"{keys.reservation(home_of, '')}*"))
        if bought_in.encode() in call("GET", each)
    ]
    record = msgspec.json.decode(call("GET", name))
    call("SET", name, msgspec.json.encode({**record, "newBalance": record["newBalance"] + 1}))
    return [(What.ANSWER_DIFFERS, f"{name} {bought_in}", None)]


def transaction_of(call: Call, account_id: str, kind: TransactionType) -> str:
    """The id of the account's first transaction of that type."""
    entries = (entry(call, account_id, place) for place in range(call("LLEN", ledger(account_id))))
    return next(str(each["transactionId"]) for each in entries if each["type"] == kind)


@planted
def total_garbled(call: Call) -> Expected:
    totals = keys.totals(home("alice"))
    call("HSET", totals, "entries", "many")
    return [(What.TOTAL_DIFFERS, f"{totals} entries", None)]


@planted
def chips_put_on_a_table(call: Call) -> Expected:
    """Records and total differ, and it is the records that made a chip."""
    partition = partition_of("t1", PARTITIONS)
    call("HINCRBY", keys.table(partition, "t1"), keys.in_play_field("carol"), 1)
    total = f"{keys.totals(partition)} CHIPS|inPlay"
    return [(What.SUPPLY_DIFFERS, "the whole store", None), (What.TOTAL_DIFFERS, total, None)]


@planted
def table_lost(call: Call) -> Expected:
    partition = partition_of("t1", PARTITIONS)
    call("DEL", keys.table(partition, "t1"))
    total = f"{keys.totals(partition)} CHIPS|inPlay"
    return [(What.SUPPLY_DIFFERS, "the whole store", None), (What.TOTAL_DIFFERS, total, None)]


@planted
def two_at_once(call: Call) -> Expected:
    """One does not hide the other; the graver comes first."""
    return [*tail_truncated(call), *balance_edited(call)]
