"""What follows from a command's content alone: its fingerprint, and where its outcome is kept."""

import pytest
from msgspec.structs import replace

from app.domain.commands import (
    AccountCommand,
    CancelPot,
    CashOut,
    Command,
    Deposit,
    EnsureAccount,
    Payout,
    RecordContribution,
    Reserve,
    SettlePot,
    TableCommand,
    Winner,
    Withdraw,
)
from app.domain.requests import Request
from tests.unit.domain.test_validation import RIGHT

FULL: list[AccountCommand] = [
    EnsureAccount(account_id="alice", initial_balance=5),
    Deposit(account_id="alice", amount=5, source="CARD"),
    Withdraw(account_id="alice", amount=5, reason="fun"),
    Payout(account_id="alice", amount=5, type="BONUS", reason="race"),
    CashOut(account_id="alice", table_id="t1", amount=5, seat_id=3, hand_id="h1"),
    Reserve(account_id="alice", table_id="t1", amount=5, timeout_seconds=9),
]
ON_POTS: list[TableCommand] = [
    RecordContribution(
        table_id="t1", hand_id="h1", seat_id=3, account_id="alice", amount=5, contribution_type="BET"
    ),
    SettlePot(
        table_id="t1",
        hand_id="h1",
        winners=(Winner(seat_id=3, account_id="alice", amount=5),),
        payout_to="TABLE",
        folded_seat_ids=(1,),
    ),
    CancelPot(table_id="t1", hand_id="h1", reason="misdeal"),
]
KINDS = [command.kind for command in FULL]
EVERY = [*FULL, *ON_POTS]
EVERY_KIND = [command.kind for command in EVERY]


def fingerprint(command: Command) -> str:
    return Request(command, partition=0).fingerprint


@pytest.mark.parametrize("command", EVERY, ids=EVERY_KIND)
def test_a_retry_has_the_fingerprint_of_the_first_call(command: Command) -> None:
    """Whatever changes with a retry is left out: key, command id, times."""
    first = Request(command, partition=1, key="k", command_id="c-1", arrived_at=1, deadline_at=2)
    retry = Request(command, partition=1, key="K", command_id="c-2", arrived_at=3, deadline_at=0)
    assert first.fingerprint == retry.fingerprint
    assert len(first.fingerprint) == 64


@pytest.mark.parametrize("command", EVERY, ids=EVERY_KIND)
def test_any_other_content_has_another_fingerprint(command: Command) -> None:
    """Each field counts, with every value it may have."""
    seen = {fingerprint(command)}
    changed = [
        replace(command, **{field: value})
        for field in command.__struct_fields__
        for value in RIGHT[field]
        if value != getattr(command, field)
    ]
    seen.update(map(fingerprint, changed))
    assert len(seen) == 1 + len(changed)


def test_the_kind_counts() -> None:
    """Two kinds of command may have the same fields."""
    alike = [
        Deposit(account_id="a", amount=1),
        Withdraw(account_id="a", amount=1),
        Payout(account_id="a", amount=1),
    ]
    assert len(set(map(fingerprint, alike))) == 3


@pytest.mark.parametrize(
    ("sparse", "spelled_out"),
    [
        (EnsureAccount(account_id="a"), EnsureAccount(account_id="a", initial_balance=0)),
        (Deposit(account_id="a", amount=1), Deposit(account_id="a", amount=1, source="")),
        (Payout(account_id="a", amount=1), Payout(account_id="a", amount=1, type="PAYOUT", reason="")),
        (
            CashOut(account_id="a", table_id="t", amount=1),
            CashOut(account_id="a", table_id="t", amount=1, seat_id=0, hand_id=""),
        ),
        (
            SettlePot(table_id="t", hand_id="h", winners=()),
            SettlePot(table_id="t", hand_id="h", winners=(), payout_to="ACCOUNT", folded_seat_ids=()),
        ),
        (
            Reserve(account_id="a", table_id="t", amount=1),
            Reserve(account_id="a", table_id="t", amount=1, timeout_seconds=0),
        ),
    ],
)
def test_a_field_at_its_default_does_not_count(sparse: Command, spelled_out: Command) -> None:
    """One client leaves it out, another writes it: the same command. So later fields do no harm."""
    assert fingerprint(sparse) == fingerprint(spelled_out)


def test_fingerprints_never_change() -> None:
    """They are kept for ever with what was applied: another value would refuse the retry."""
    deposit = Deposit(account_id="alice", amount=40, source="CARD")
    assert fingerprint(deposit) == "386a7a21356e018cb69d2f67bcf25c7c02d67c1c01c1e27101c5b79418412f8e"
    settle = ON_POTS[1]
    assert fingerprint(settle) == "f97ef17246f3e28c4fc89967ebf7e79fdd7f260394ee70e5526b5b6ae28a8d0a"


@pytest.mark.parametrize("command", FULL, ids=KINDS)
def test_outcomes_are_kept_by_operation_account_and_key(command: AccountCommand) -> None:
    """Content does not count there: that is how a reused key is noticed."""
    one = Request(command, partition=1, key="k")
    other_content = Request(replace(command, **{command.__struct_fields__[-1]: ""}), partition=1, key="k")
    assert one.record_id == other_content.record_id
    assert one.refusal_key == other_content.refusal_key
    bobs = Request(replace(command, account_id="bob"), partition=1, key="k")
    second = Request(command, partition=1, key="k2")
    assert len({each.record_id for each in (one, bobs, second)}) == 3
    assert len({each.refusal_key for each in (one, bobs, second)}) == 3
