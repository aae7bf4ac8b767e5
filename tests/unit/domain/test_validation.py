"""What makes a command malformed: every way to get a field wrong names that field."""

import pytest
from msgspec.structs import replace

from app.domain.amounts import MAX_CHIPS
from app.domain.commands import (
    KINDS,
    OPS_COMMANDS,
    Adjust,
    CancelPot,
    CashOut,
    Command,
    Commit,
    Deposit,
    EnsureAccount,
    ExpireReservation,
    FreezeAccount,
    LeaveTable,
    Part,
    Payout,
    PayTogether,
    RecordContribution,
    Release,
    Reserve,
    SettlePot,
    TableCommand,
    UnfreezeAccount,
    Winner,
    Withdraw,
)
from app.domain.validation import Malformed, TooMany, check_account_id, check_command

TRANSACTION = "007-" + "a" * 26
WELL_FORMED: list[Command] = [
    EnsureAccount(account_id="alice"),
    Deposit(account_id="alice", amount=1),
    Withdraw(account_id="alice", amount=1),
    Payout(account_id="alice", amount=1),
    PayTogether(batch_id="b1", parts=(Part(line=1, key="k", account_id="alice", amount=1),)),
    CashOut(account_id="alice", table_id="t1", amount=1),
    FreezeAccount(account_id="alice"),
    UnfreezeAccount(account_id="alice"),
    Adjust(account_id="alice", change=-1, corrects=TRANSACTION),
    LeaveTable(account_id="alice", table_id="t1"),
    Reserve(account_id="alice", table_id="t1", amount=1),
    Commit(reservation_id="r1"),
    Release(reservation_id="r1"),
    ExpireReservation(reservation_id="r1"),
    RecordContribution(table_id="t1", hand_id="h1", seat_id=1, account_id="alice", amount=1),
    SettlePot(table_id="t1", hand_id="h1", winners=(Winner(seat_id=1, account_id="alice", amount=1),)),
    CancelPot(table_id="t1", hand_id="h1"),
]

PART = Part(line=1, key="k", account_id="alice", amount=1)
BAD_IDS = ["a/b", "a b", " a", "a\n", "$house", "$house-007", "a|b", "{7}", "é", "x" * 129, "", 7, True, None]
BAD_AMOUNTS = [0, -1, MAX_CHIPS + 1, -MAX_CHIPS, True, 1.0, 0.5, "1", None]
BAD_TEXTS = ["x" * 256, "a\nb", "a\x00", "\x7f", "a\u2028b", "\ud800", 7, None]
WRONG: dict[str, list[object]] = {
    "account_id": BAD_IDS,
    "table_id": BAD_IDS,
    "hand_id": [bad for bad in BAD_IDS if bad != ""],
    "reservation_id": ["", *BAD_TEXTS],
    "amount": BAD_AMOUNTS,
    "change": [0, MAX_CHIPS + 1, -MAX_CHIPS - 1, True, 1.0, "1", None],
    "corrects": ["", "7-aa", "007-" + "A" * 26, TRANSACTION + "a", 7, None],
    "initial_balance": [bad for bad in BAD_AMOUNTS if bad is False or bad != 0],
    "seat_id": [-1, 2**31, True, 1.0, "1", None],
    "timeout_seconds": [-1, 86_401, True, 1.0, "1", None],
    "type": ["", "DEPOSIT", "payout", "RAKE", None],
    "contribution_type": ["x" * 65, *BAD_TEXTS],
    "winners": [(), None],
    "payout_to": ["", "account", "SEAT", None],
    "folded_seat_ids": [(3, 3), (1, 2, 1)],
    "source": BAD_TEXTS,
    "reason": BAD_TEXTS,
    "batch_id": BAD_IDS,
    "parts": [
        (),
        None,
        [PART],
        (PART, PART),
        tuple(replace(PART, key=f"k{line}") for line in range(129)),
    ],
}
RIGHT: dict[str, list[object]] = {
    "account_id": ["a", "x" * 128, "A-Za-z0-9._:@-", "7", "..", "a@b.c:1"],
    "table_id": ["a", "x" * 128, "A-Za-z0-9._:@-"],
    "hand_id": ["", "a", "x" * 128],
    "reservation_id": ["a", "no id of ours", "x" * 255],
    "amount": [1, 2**31, MAX_CHIPS],
    "change": [1, -1, MAX_CHIPS, -MAX_CHIPS],
    "corrects": [TRANSACTION],
    "initial_balance": [0, 1, MAX_CHIPS],
    "seat_id": [0, 9, 2**31 - 1],
    "timeout_seconds": [0, 1, 86_400],
    "type": ["PAYOUT", "BONUS", "REFERRAL"],
    "contribution_type": ["", "SMALL_BLIND", "x" * 64, "Straddle 🂡"],
    "winners": [
        tuple(Winner(seat_id=seat, account_id="alice", amount=MAX_CHIPS) for seat in range(64)),
        (Winner(seat_id=1, account_id="alice", amount=5), Winner(seat_id=1, account_id="alice", amount=2)),
    ],
    "payout_to": ["ACCOUNT", "TABLE"],
    "folded_seat_ids": [(), (2**31 - 1, 0)],
    "source": ["", "CARD", "x" * 255, "Grüße 🂡"],
    "reason": ["", "left the table", "x" * 255],
    "batch_id": ["a", "x" * 128],
    "parts": [(PART,), tuple(replace(PART, key=f"k{line}") for line in range(128))],
}
CODES = {
    "account_id": "INVALID_ACCOUNT_ID",
    "amount": "INVALID_AMOUNT",
    "initial_balance": "INVALID_AMOUNT",
    "change": "INVALID_AMOUNT",
}
FIELDS = [(command, field) for command in WELL_FORMED for field in command.__struct_fields__]
FIELD_NAMES = [f"{command.kind}.{field}" for command, field in FIELDS]


def wrong(command: Command, field: str) -> list[object]:
    """What the field may not be; a pot cannot be named without its hand."""
    needed = isinstance(command, TableCommand) and field == "hand_id"
    return BAD_IDS if needed else WRONG[field]


def right(command: Command, field: str) -> list[object]:
    """What the field may be."""
    return [value for value in RIGHT[field] if value not in wrong(command, field)]


def key_of(command: Command) -> str:
    return "k" if command.keyed else ""


def by_ops(command: Command) -> bool:
    return isinstance(command, OPS_COMMANDS)


def test_every_kind_of_command_is_looked_at() -> None:
    """A new command, or a new field, is not forgotten here."""
    assert {command.kind for command in WELL_FORMED} == set(KINDS)
    assert {field for _, field in FIELDS} == set(WRONG) == set(RIGHT)


@pytest.mark.parametrize(("command", "field"), FIELDS, ids=FIELD_NAMES)
def test_a_malformed_field_is_named(command: Command, field: str) -> None:
    """Types count too: a bool, a float or a text is no amount."""
    for value in wrong(command, field):
        with pytest.raises(Malformed) as malformed:
            check_command(replace(command, **{field: value}), key_of(command), by_ops=by_ops(command))
        assert malformed.value.field == field
        assert malformed.value.code == CODES.get(field, "INVALID_REQUEST")
        assert str(malformed.value).startswith(f"{field} ")


@pytest.mark.parametrize(("command", "field"), FIELDS, ids=FIELD_NAMES)
def test_a_well_formed_field_passes(command: Command, field: str) -> None:
    """Up to both ends of its range."""
    for value in right(command, field):
        check_command(replace(command, **{field: value}), key_of(command), by_ops=by_ops(command))


@pytest.mark.parametrize(
    ("winner", "field"),
    [
        (Winner(seat_id=-1, account_id="alice", amount=1), "winners[1].seat_id"),
        (Winner(seat_id=1, account_id="$house-007", amount=1), "winners[1].account_id"),
        (Winner(seat_id=1, account_id="", amount=1), "winners[1].account_id"),
        (Winner(seat_id=1, account_id="alice", amount=0), "winners[1].amount"),
        (Winner(seat_id=1, account_id="alice", amount=MAX_CHIPS + 1), "winners[1].amount"),
    ],
)
def test_a_malformed_winner_is_found_by_its_place(winner: Winner, field: str) -> None:
    """The house is never a winner."""
    good = Winner(seat_id=0, account_id="alice", amount=1)
    with pytest.raises(Malformed) as malformed:
        check_command(SettlePot(table_id="t1", hand_id="h1", winners=(good, winner)), "k")
    assert malformed.value.field == field


def test_a_malformed_seat_that_folded_is_found_by_its_place() -> None:
    """As any seat, it is 0 or more."""
    settle = SettlePot(
        table_id="t1",
        hand_id="h1",
        winners=(Winner(seat_id=0, account_id="alice", amount=1),),
        folded_seat_ids=(1, -1),
    )
    with pytest.raises(Malformed, match=r"^folded_seat_ids\[1\] must be") as malformed:
        check_command(settle, "k")
    assert malformed.value.field == "folded_seat_ids[1]"


def test_more_than_64_winners_are_too_many() -> None:
    """Front ends tell it apart: not wrong, but more than the service takes at once."""
    winners = tuple(Winner(seat_id=seat, account_id="alice", amount=1) for seat in range(65))
    with pytest.raises(TooMany, match=r"^winners are more than 64"):
        check_command(SettlePot(table_id="t1", hand_id="h1", winners=winners), "k")


KEYED = [command for command in WELL_FORMED if command.keyed]
KEYLESS = [command for command in WELL_FORMED if not command.keyed]


@pytest.mark.parametrize("command", KEYED, ids=lambda command: command.kind)
def test_a_key_is_1_to_255_printable_characters(command: Command) -> None:
    """Characters, not bytes; a missing key has a code of its own."""
    for key in ("k", "x" * 255, "ä" * 255, "with space", "a|b", "🂡"):
        check_command(command, key, by_ops=by_ops(command))
    for key in ("x" * 256, "a\nb", "\t", "a\x00", "\x1f", "\x7f", "\x85", "\u200b", "\ud800"):
        with pytest.raises(Malformed, match="idempotency_key must be 1 to 255 printable") as malformed:
            check_command(command, key, by_ops=by_ops(command))
        assert malformed.value.code == "INVALID_REQUEST"
    with pytest.raises(Malformed, match="idempotency_key is missing") as malformed:
        check_command(command, "", by_ops=by_ops(command))
    assert malformed.value.code == "MISSING_IDEMPOTENCY_KEY"


@pytest.mark.parametrize("command", KEYLESS, ids=lambda command: command.kind)
def test_a_command_that_takes_no_key_is_given_none(command: Command) -> None:
    """A caller who sends one believes in a promise that is not made."""
    check_command(command, "", by_ops=by_ops(command))
    with pytest.raises(Malformed, match=f"idempotency_key is not taken by {command.kind}"):
        check_command(command, "k", by_ops=by_ops(command))


def test_an_account_id_alone_is_looked_at_as_in_a_command() -> None:
    """Reads take one without a command."""
    for good in RIGHT["account_id"]:
        check_account_id("account_id", good)
    for bad in BAD_IDS:
        with pytest.raises(Malformed):
            check_account_id("account_id", bad)


@pytest.mark.parametrize("kind", OPS_COMMANDS)
def test_commands_of_ops_are_malformed_from_anybody_else(kind: type[Command]) -> None:
    """Callers reach some commands by name; they cannot freeze, correct, or empty a table."""
    (command,) = (each for each in WELL_FORMED if type(each) is kind)
    with pytest.raises(Malformed, match="is for ops"):
        check_command(command, key_of(command))
    check_command(command, key_of(command), by_ops=True)
