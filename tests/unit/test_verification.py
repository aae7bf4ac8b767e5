"""The checks of an audit: each finds its one fault, names the place, and nothing else."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from app.domain.accounts import Account, Origin, open_account, post
from app.domain.ledger import GENESIS, LedgerEntry, Metadata, TransactionType, seal
from app.domain.records import TransactionRecord
from app.domain.reservations import COMMITTED, HELD, Hold, Reservation
from app.services.verification import (
    MOST_FINDINGS,
    Chain,
    Finding,
    Findings,
    Supply,
    What,
    check_balance,
    check_head,
    check_held,
    check_hold,
    check_index,
    check_origin,
    check_reserved,
    check_supply,
    check_total,
    check_transaction,
)

NOW = 1_700_000_000_000
AMOUNTS = (100, 50, -30, 20, -140)
WHERE = "here"


def ledger(
    *amounts: int, initial: bool = False, account_id: str = "alice"
) -> tuple[Account, list[LedgerEntry]]:
    """An account with these balance changes, and its entries; the first may be the initial balance."""
    account = open_account(account_id, "EnsureAccount", NOW)
    entries = []
    for place, amount in enumerate(amounts):
        account, posting = post(
            account,
            amount,
            TransactionType.DEPOSIT if amount > 0 else TransactionType.WITHDRAW,
            Metadata(),
            Origin(f"t{place}", NOW + place),
            initial=initial and place == 0,
        )
        entries.append(posting.entry)
    return account, entries


ALICE, ENTRIES = ledger(*AMOUNTS)


def sealed(*entries: LedgerEntry) -> list[bytes]:
    return [seal(entry)[1].encode() for entry in entries]


def changed(entry: LedgerEntry, **changes: Any) -> LedgerEntry:
    return msgspec.structs.replace(entry, **changes)


def follow(elements: list[bytes], chain: Chain | None = None) -> tuple[Chain, Finding | None]:
    """Follow the elements until one is wrong."""
    chain = chain or Chain("alice")
    for element in elements:
        step = chain.follow(element, WHERE)
        if isinstance(step, Finding):
            return chain, step
    return chain, None


@pytest.mark.parametrize("initial", [True, False])
def test_an_intact_ledger_is_followed_to_its_head(initial: bool) -> None:
    """From entry 0, an initial balance, or else from entry 1."""
    account, entries = ledger(*AMOUNTS, initial=initial)
    chain, flaw = follow(sealed(*entries))
    assert flaw is None
    assert (chain.seq, chain.checksum, chain.balance) == (account.seq, account.checksum, 0)
    assert chain.entries == len(AMOUNTS)
    assert check_head(chain, account, WHERE) is None
    assert check_balance(chain, account, WHERE) is None


def test_an_empty_ledger_is_whole() -> None:
    """An account that nobody has paid in to."""
    account = open_account("alice", "EnsureAccount", NOW)
    assert check_head(Chain("alice"), account, WHERE) is None
    assert check_balance(Chain("alice"), account, WHERE) is None


def test_a_chain_goes_on_from_where_it_was_noted() -> None:
    """What was verified once is not read again."""
    chain, _ = follow(sealed(*ENTRIES[:3]))
    noted = Chain("alice", seq=chain.seq, checksum=chain.checksum, balance=chain.balance)
    rest, flaw = follow(sealed(*ENTRIES[3:]), noted)
    assert flaw is None
    assert (rest.checksum, rest.entries) == (ALICE.checksum, 2)


Damage = Callable[[list[bytes]], list[bytes]]


def replaced(place: int, **changes: Any) -> Damage:
    """An entry that was written anew, with a checksum that fits."""
    return lambda good: [*good[:place], *sealed(changed(ENTRIES[place], **changes)), *good[place + 1 :]]


@pytest.mark.parametrize(
    ("damage", "what", "seq", "expected", "found"),
    [
        pytest.param(
            lambda good: [good[0], good[1].replace(b'"amount":50', b'"amount":51'), *good[2:]],
            What.ENTRY_ALTERED,
            2,
            seal(ENTRIES[1])[0],
            None,
            id="amount-edited",
        ),
        pytest.param(
            lambda good: [good[0], good[1], b"0" * 64 + good[2][64:], *good[3:]],
            What.ENTRY_ALTERED,
            3,
            "0" * 64,
            seal(ENTRIES[2])[0],
            id="checksum-edited",
        ),
        pytest.param(lambda good: [b"", *good[1:]], What.ENTRY_ALTERED, 1, "", None, id="emptied"),
        pytest.param(
            replaced(0, v=2),
            What.ENTRY_ALTERED,
            1,
            seal(changed(ENTRIES[0], v=2))[0],
            "unknown entry version 2",
            id="unknown-version",
        ),
        pytest.param(
            lambda good: [*good[:2], *good[3:]],
            What.ENTRY_OUT_OF_PLACE,
            3,
            "alice|3",
            "alice|4",
            id="removed",
        ),
        pytest.param(
            lambda good: good[1:], What.ENTRY_OUT_OF_PLACE, 1, "alice|1", "alice|2", id="first-removed"
        ),
        pytest.param(
            lambda good: [good[0], good[2], good[1], *good[3:]],
            What.ENTRY_OUT_OF_PLACE,
            2,
            "alice|2",
            "alice|3",
            id="swapped",
        ),
        pytest.param(
            lambda good: [*good[:2], good[1], *good[2:]],
            What.ENTRY_OUT_OF_PLACE,
            3,
            "alice|3",
            "alice|2",
            id="repeated",
        ),
        pytest.param(
            replaced(1, account_id="bob"),
            What.ENTRY_OUT_OF_PLACE,
            2,
            "alice|2",
            "bob|2",
            id="of-another-account",
        ),
        pytest.param(
            replaced(1, entry_id="alice|9"),
            What.ENTRY_OUT_OF_PLACE,
            2,
            "alice|2",
            "alice|9",
            id="under-another-id",
        ),
        pytest.param(
            replaced(2, metadata=Metadata(reason="lucky")),
            What.ENTRY_UNLINKED,
            4,
            seal(changed(ENTRIES[2], metadata=Metadata(reason="lucky")))[0],
            seal(ENTRIES[2])[0],
            id="written-anew",
        ),
        pytest.param(
            replaced(0, previous_checksum="x"), What.ENTRY_UNLINKED, 1, GENESIS, "x", id="not-the-first"
        ),
        pytest.param(
            replaced(1, balance_before=99, balance_after=149),
            What.ENTRY_MISCOUNTED,
            2,
            100,
            99,
            id="begins-with-another-balance",
        ),
        pytest.param(
            replaced(1, balance_after=151), What.ENTRY_MISCOUNTED, 2, 150, 151, id="does-not-add-up"
        ),
        pytest.param(
            replaced(4, amount=-141, balance_after=-1), What.ENTRY_OVERDRAWN, 5, 0, -1, id="below-zero"
        ),
    ],
)
def test_the_first_bad_entry_is_named(
    damage: Damage, what: What, seq: int, expected: str | int, found: str | int | None
) -> None:
    """Whatever follows a damaged entry, the finding is about the place where the chain breaks."""
    chain, flaw = follow(damage(sealed(*ENTRIES)))
    assert flaw is not None
    assert (flaw.what, flaw.where, flaw.account_id, flaw.seq) == (what, WHERE, "alice", seq)
    assert flaw.expected == expected
    assert found is None or flaw.found == found
    assert chain.entries == seq - 1


def test_a_damaged_initial_balance_is_entry_0() -> None:
    """The first entry of a ledger is 0 or 1, and is named as it says."""
    _, entries = ledger(*AMOUNTS, initial=True)
    first, *others = sealed(*entries)
    _, flaw = follow([first.replace(b'"amount":100', b'"amount":900'), *others])
    assert flaw is not None
    assert (flaw.what, flaw.seq) == (What.ENTRY_ALTERED, 0)


def test_an_end_that_is_missing_or_beyond_the_head() -> None:
    """The place is the one behind the last good entry."""
    chain, _ = follow(sealed(*ENTRIES[:4]))
    missing = Finding(
        what=What.ENTRY_MISSING, where=WHERE, account_id="alice", seq=5, expected="alice|5", found=None
    )
    assert chain.missing(WHERE, 9) == missing
    beyond = Finding(
        what=What.ENTRY_OUT_OF_PLACE, where=WHERE, account_id="alice", seq=5, expected=None, found="2 more"
    )
    assert chain.surplus(WHERE, 2) == beyond
    assert [Chain("alice").missing(WHERE, head).seq for head in (0, 1, 9)] == [0, 1, 1]


RECORD = TransactionRecord(account_id="alice", seq=3, fingerprint="f")
RESERVATION = Reservation(
    reservation_id="r1",
    account_id="alice",
    table_id="t1",
    amount=30,
    status=HELD,
    created_at=NOW,
    expires_at=NOW + 9,
    fingerprint="f",
    available_balance=70,
)
ENDED = msgspec.structs.replace(RESERVATION, status=COMMITTED)
HOLD = Hold(30, NOW + 9)
CHAIN = follow(sealed(*ENTRIES))[0]
BALANCED = Supply(
    deposits=170,
    withdrawals=70,
    accounts=80,
    in_play=23,
    table_deficits=20,
    in_pots=12,
    house=5,
    difference=0,
)


def of_alice(**changes: Any) -> Account:
    return msgspec.structs.replace(ALICE, **changes)


@pytest.mark.parametrize(
    "finding",
    [
        check_transaction(ENTRIES[2], RECORD, WHERE),
        check_origin("t2", RECORD, ENTRIES[2], WHERE),
        check_index("alice", [1, 2, 4], [1, 2, 4], WHERE),
        check_hold("alice", HOLD, RESERVATION, WHERE),
        check_held(RESERVATION, is_held=True, where=WHERE),
        check_held(ENDED, is_held=False, where=WHERE),
        check_reserved(of_alice(reserved=30), 30, WHERE),
        check_total("entries", {"entries": 5}, {"entries": "5"}, WHERE),
        check_total("entries", {}, {}, WHERE),
        check_supply(BALANCED),
    ],
)
def test_records_that_agree_are_no_finding(finding: Finding | None) -> None:
    """Each check, where all is well."""
    assert finding is None


@pytest.mark.parametrize(
    ("finding", "what", "where", "expected", "found"),
    [
        (
            check_head(CHAIN, of_alice(checksum="x"), WHERE),
            What.HEAD_DIFFERS,
            "here checksum",
            ALICE.checksum,
            "x",
        ),
        (check_head(CHAIN, of_alice(version=6), WHERE), What.HEAD_DIFFERS, "here version", 5, 6),
        (check_balance(CHAIN, of_alice(balance=7), WHERE), What.BALANCE_DIFFERS, "here balance", 0, 7),
        (check_transaction(ENTRIES[2], None, WHERE), What.TRANSACTION_DIFFERS, WHERE, "alice|3", None),
        (check_transaction(ENTRIES[1], RECORD, WHERE), What.TRANSACTION_DIFFERS, WHERE, "alice|2", "alice|3"),
        (check_origin("t9", RECORD, None, WHERE), What.TRANSACTION_UNFOUNDED, WHERE, "t9", None),
        (check_origin("t9", RECORD, ENTRIES[2], WHERE), What.TRANSACTION_UNFOUNDED, WHERE, "t9", "t2"),
        (check_index("alice", [1, 2, 4], [1, 4], WHERE), What.INDEX_DIFFERS, WHERE, 2, 4),
        (check_index("alice", [1, 2, 4], [1, 2], WHERE), What.INDEX_DIFFERS, WHERE, 4, None),
        (check_hold("alice", HOLD, None, WHERE), What.HOLD_UNFOUNDED, WHERE, HELD, None),
        (check_hold("alice", HOLD, ENDED, WHERE), What.HOLD_UNFOUNDED, WHERE, HELD, COMMITTED),
        (
            check_hold("alice", Hold(31, NOW), RESERVATION, WHERE),
            What.HOLD_DIFFERS,
            WHERE,
            f"alice|30|{NOW + 9}",
            f"alice|31|{NOW}",
        ),
        (
            check_hold("bob", HOLD, RESERVATION, WHERE),
            What.HOLD_DIFFERS,
            WHERE,
            f"alice|30|{NOW + 9}",
            f"bob|30|{NOW + 9}",
        ),
        (
            check_held(RESERVATION, is_held=False, where=WHERE),
            What.HOLD_MISSING,
            WHERE,
            f"alice|30|{NOW + 9}",
            None,
        ),
        (
            check_reserved(of_alice(reserved=31), 30, WHERE),
            What.RESERVED_DIFFERS,
            "here reserved",
            30,
            31,
        ),
        (
            check_total("entries", {"entries": 5}, {"entries": "6"}, WHERE),
            What.TOTAL_DIFFERS,
            "here entries",
            "5",
            "6",
        ),
        (
            check_supply(msgspec.structs.replace(BALANCED, accounts=91, difference=1)),
            What.SUPPLY_DIFFERS,
            "the whole store",
            100,
            101,
        ),
    ],
)
def test_records_that_disagree_are_named(
    finding: Finding | None, what: What, where: str, expected: str | int | None, found: str | int | None
) -> None:
    """What is wrong, where, what should be there and what is."""
    assert finding is not None
    assert (finding.what, finding.where, finding.expected, finding.found) == (what, where, expected, found)


def test_findings_come_gravest_first_and_once_for_each_place() -> None:
    """What is found at a place later follows from what was found there first."""
    findings = Findings()
    assert not findings.add(None)
    for what, where in (
        (What.INDEX_DIFFERS, "b"),
        (What.ENTRY_ALTERED, "c"),
        (What.ENTRY_MISSING, "c"),
        (What.INDEX_DIFFERS, "a"),
    ):
        assert findings.add(Finding(what=what, where=where))
    assert [(each.what, each.where) for each in findings.all()] == [
        (What.ENTRY_ALTERED, "c"),
        (What.INDEX_DIFFERS, "a"),
        (What.INDEX_DIFFERS, "b"),
    ]


def test_a_store_in_ruins_does_not_fill_the_memory() -> None:
    """Beyond the limit findings are counted only."""
    findings = Findings()
    for place in range(MOST_FINDINGS + 5):
        findings.add(Finding(what=What.TOTAL_DIFFERS, where=str(place)))
    assert (len(findings.all()), findings.omitted) == (MOST_FINDINGS, 5)
