"""Damages to the pots of `Books.play_hands`, each planted by hand, with the findings an audit must report."""

import msgspec

from app.domain.identifiers import house_of
from app.services.verification import What
from app.storage import keys
from tests.support.damages import Call, Damage, Expected, account, entry, home, transaction

POT_DAMAGES: list[Damage] = []

TABLE = "t1"
PARTITION = home(TABLE)
TABLE_KEY = keys.table(PARTITION, TABLE)
ACTIVE_POTS = keys.active_pots(PARTITION)
TOTALS = keys.totals(PARTITION)


def planted(damage: Damage) -> Damage:
    POT_DAMAGES.append(damage)
    return damage


def pot(hand_id: str) -> str:
    return keys.pot(PARTITION, TABLE, hand_id)


def edit(call: Call, hand_id: str, old: bytes, new: bytes) -> None:
    """Change one place of a pot's record."""
    record = call("HGET", pot(hand_id), "record")
    assert record.count(old) == 1
    call("HSET", pot(hand_id), "record", record.replace(old, new))


# Into each pot went 20 chips of Alice, in two entries, and 20 of Bob. "paid" gave 25 and 15 less 2 of rake.


@planted
def total_edited(call: Call) -> Expected:
    """Of a pot that is over: the chips that lie in it are listed nowhere."""
    edit(call, "paid", b'"total":40', b'"total":41')
    return [(What.POT_DIFFERS, f"{pot('paid')} total", None)]


@planted
def total_of_an_active_pot_edited(call: Call) -> Expected:
    """Its table says otherwise."""
    edit(call, "open", b'"total":40', b'"total":41')
    return [(What.POT_MISSING, f"{pot('open')} chips", None)]


@planted
def contribution_edited(call: Call) -> Expected:
    record = call("HGET", pot("open"), "record")
    seat, others = record.split(b'"entries":', 1)
    call(
        "HSET",
        pot("open"),
        "record",
        seat.replace(b'"amount":20', b'"amount":21', 1) + b'"entries":' + others,
    )
    return [(What.POT_DIFFERS, f"{pot('open')} total", None)]


@planted
def entry_removed(call: Call) -> Expected:
    record = call("HGET", pot("open"), "record")
    begin = record.index(b'{"n":2,')
    end = record.index(b'{"n":3,')
    call("HSET", pot("open"), "record", record[:begin] + record[end:])
    return [(What.POT_DIFFERS, f"{pot('open')} entries", None)]


@planted
def refund_removed(call: Call) -> Expected:
    record = call("HGET", pot("void"), "record")
    begin = record.index(b',{"n":5,')
    end = record.index(b"]", begin)
    call("HSET", pot("void"), "record", record[:begin] + record[end:])
    return [(What.POT_DIFFERS, f"{pot('void')} entries", None)]


@planted
def rake_edited(call: Call) -> Expected:
    edit(call, "paid", b'"rakeAmount":2', b'"rakeAmount":3')
    return [(What.POT_DIFFERS, f"{pot('paid')} results", None)]


@planted
def paid_pot_opened_again(call: Call) -> Expected:
    """Whoever settles it would be paid from chips that are not there."""
    edit(call, "paid", b'"SETTLED"', b'"ACTIVE"')
    return [(What.POT_MISSING, f"{pot('paid')} chips", None)]


@planted
def active_pot_closed(call: Call) -> Expected:
    edit(call, "open", b'"ACTIVE"', b'"CANCELLED"')
    return [(What.POT_MISSING, f"{pot('open')} chips", None)]


@planted
def record_garbled(call: Call) -> Expected:
    call("HSET", pot("paid"), "record", "{")
    return [(What.POT_UNREADABLE, pot("paid"), None)]


@planted
def record_of_an_active_pot_garbled(call: Call) -> Expected:
    call("HSET", pot("open"), "record", "{")
    return [(What.POT_UNREADABLE, pot("open"), None)]


@planted
def record_of_an_unknown_version(call: Call) -> Expected:
    edit(call, "void", b'{"v":1,', b'{"v":2,')
    return [(What.POT_UNREADABLE, pot("void"), None)]


@planted
def active_pot_lost(call: Call) -> Expected:
    call("DEL", pot("open"))
    return [(What.POT_MISSING, f"{pot('open')} chips", None)]


@planted
def start_forged(call: Call) -> Expected:
    """Listed as active, and nowhere else."""
    call("ZADD", ACTIVE_POTS, 1_700_000_000_000, keys.pot_member(TABLE, "forged"))
    return [(What.POT_MISSING, f"{pot('forged')} start", None)]


@planted
def start_without_a_hand(call: Call) -> Expected:
    """What the index names is not even the name of a pot."""
    call("ZADD", ACTIVE_POTS, 1_700_000_000_000, "nonsense")
    return [(What.POT_MISSING, f"{keys.pot(PARTITION, 'nonsense', '')} start", None)]


@planted
def start_left_over(call: Call) -> Expected:
    call("ZADD", ACTIVE_POTS, 1_700_000_000_000, keys.pot_member(TABLE, "paid"))
    return [(What.POT_MISSING, f"{pot('paid')} start", None)]


@planted
def start_lost(call: Call) -> Expected:
    call("ZREM", ACTIVE_POTS, keys.pot_member(TABLE, "open"))
    return [(What.POT_MISSING, f"{pot('open')} start", None)]


@planted
def start_edited(call: Call) -> Expected:
    call("ZINCRBY", ACTIVE_POTS, 1, keys.pot_member(TABLE, "open"))
    return [(What.POT_MISSING, f"{pot('open')} start", None)]


@planted
def chips_at_the_table_edited(call: Call) -> Expected:
    call("HINCRBY", TABLE_KEY, keys.pot_field("open"), 1)
    return [(What.POT_MISSING, f"{pot('open')} chips", None)]


@planted
def chips_at_the_table_garbled(call: Call) -> Expected:
    call("HSET", TABLE_KEY, keys.pot_field("open"), "some")
    return [(What.POT_MISSING, f"{pot('open')} chips", None)]


@planted
def chips_at_the_table_lost(call: Call) -> Expected:
    call("HDEL", TABLE_KEY, keys.pot_field("open"))
    return [(What.POT_MISSING, f"{pot('open')} chips", None)]


@planted
def chips_at_the_table_forged(call: Call) -> Expected:
    call("HSET", TABLE_KEY, keys.pot_field("forged"), 7)
    return [(What.POT_MISSING, f"{pot('forged')} chips", None)]


@planted
def chips_at_the_table_forged_and_garbled(call: Call) -> Expected:
    call("HSET", TABLE_KEY, keys.pot_field("forged"), "some")
    return [(What.POT_MISSING, f"{pot('forged')} chips", None)]


@planted
def active_pot_forgotten(call: Call) -> Expected:
    """Neither its table nor the index names it: only the walk over all records finds it."""
    call("HDEL", TABLE_KEY, keys.pot_field("open"))
    call("ZREM", ACTIVE_POTS, keys.pot_member(TABLE, "open"))
    total = f"{TOTALS} CHIPS|inPots"
    return [
        (What.SUPPLY_DIFFERS, "the whole store", None),
        (What.TOTAL_DIFFERS, total, None),
        (What.POT_MISSING, f"{pot('open')} chips", None),
    ]


@planted
def total_in_pots_edited(call: Call) -> Expected:
    call("HINCRBY", TOTALS, "CHIPS|inPots", 7)
    return [(What.TOTAL_DIFFERS, f"{TOTALS} CHIPS|inPots", None)]


@planted
def total_of_the_house_edited(call: Call) -> Expected:
    call("HINCRBY", TOTALS, "CHIPS|house", 7)
    return [(What.TOTAL_DIFFERS, f"{TOTALS} CHIPS|house", None)]


@planted
def house_edited(call: Call) -> Expected:
    """The house has a ledger like everybody."""
    house = house_of(PARTITION)
    call("HINCRBY", account(house), "balance", 1)
    return [(What.BALANCE_DIFFERS, f"{account(house)} balance", None)]


@planted
def payment_lost(call: Call) -> Expected:
    """Its ledger entry misses it, and so does the pot."""
    name = transaction(call, "alice", -1)
    transaction_id = entry(call, "alice", -1)["transactionId"]
    call("DEL", name)
    return [
        (What.TRANSACTION_DIFFERS, name, entry(call, "alice", -1)["seq"]),
        (What.POT_DIFFERS, f"{pot('paid')} {transaction_id}", None),
    ]


@planted
def payment_of_another(call: Call) -> Expected:
    """The pot names a transaction of somebody else."""
    hers = entry(call, "alice", -1)["transactionId"]
    other = entry(call, "bob", 1)["transactionId"]
    record = call("HGET", pot("paid"), "record")
    call("HSET", pot("paid"), "record", record.replace(hers.encode(), other.encode()))
    return [(What.POT_DIFFERS, f"{pot('paid')} {other}", None)]


@planted
def answer_of_a_settlement_edited(call: Call) -> Expected:
    """Who asks for the settlement again would be told of another payment."""
    (name,) = [
        each.decode()
        for each in call("KEYS", f"{keys.ANSWERS}*")
        if b'"newBalance"' in call("GET", each) and b'"transactionId":"0' in call("GET", each)
    ]
    record = msgspec.json.decode(call("GET", name))
    first = record["answer"]["results"][0]
    first["amount"] += 1
    call("SET", name, msgspec.json.encode(record))
    return [(What.ANSWER_DIFFERS, f"{name} {first['transactionId']}", None)]
