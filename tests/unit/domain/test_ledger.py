"""The ledger's links: one canonical form, and nothing in a stored element can change unnoticed."""

import json
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.domain.accounts import Account, Origin, Posting, check_tail, open_account, post
from app.domain.amounts import MAX_CHIPS
from app.domain.ledger import (
    GENESIS,
    SOURCES,
    BrokenChain,
    LedgerEntry,
    Metadata,
    TransactionType,
    checksum,
    seal,
    unseal,
)

NOW = 1_700_000_000_000
# What encoders get wrong: controls, quotes, separators of lines, pairs of surrogates, combining marks.
CONTROLS = [chr(code) for code in [*range(0x20), 0x7F]]
ODD = st.sampled_from([*CONTROLS, '"', "\\", "/", "\u2028", "\u2029", "\u00e9", "e\u0301", "🂡", "<"])
TEXTS = st.text() | st.lists(ODD).map("".join)
CHIPS = st.integers(0, MAX_CHIPS)
ENTRIES = st.builds(
    LedgerEntry,
    account_id=TEXTS,
    amount=st.integers(-MAX_CHIPS, MAX_CHIPS),
    balance_after=CHIPS,
    balance_before=CHIPS,
    command_id=st.none() | TEXTS,
    entry_id=TEXTS,
    idempotency_key=st.none() | TEXTS,
    metadata=st.builds(
        Metadata,
        hand_id=st.none() | TEXTS,
        reason=st.none() | TEXTS,
        reservation_id=st.none() | TEXTS,
        seat_id=st.none() | st.integers(0, 2**31 - 1),
        source=st.none() | TEXTS,
        table_id=st.none() | TEXTS,
    ),
    previous_checksum=TEXTS,
    seq=CHIPS,
    timestamp=CHIPS,
    transaction_id=TEXTS,
    type=st.sampled_from(TransactionType),
    v=st.just(1),
)


def canonical(value: dict[str, Any]) -> bytes:
    """RFC 8785 for what a ledger holds: whole numbers in the safe range, and names in ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@given(entry=ENTRIES)
def test_an_element_is_the_checksum_and_the_canonical_json(entry: LedgerEntry) -> None:
    """As an encoder says that shares no code with ours, so others can verify the chain."""
    digest, element = seal(entry)
    members = json.loads(element.partition(" ")[2])
    assert None not in [*members.values(), *members["metadata"].values()]
    assert element.partition(" ")[2].encode() == canonical(members)
    assert digest == sha256(canonical(members)).hexdigest() == element.partition(" ")[0]


@given(entry=ENTRIES)
def test_an_element_gives_its_entry_back(entry: LedgerEntry) -> None:
    """Nothing of it is lost, whatever stands in its texts."""
    digest, element = seal(entry)
    assert unseal(element.encode()) == (digest, entry)


def test_an_element_never_changes_its_form() -> None:
    """Chains outlive releases: written out in full, once."""
    entry = LedgerEntry(
        account_id="alice",
        amount=-30,
        balance_after=70,
        balance_before=100,
        command_id="c-1",
        entry_id="alice|4",
        idempotency_key="k",
        metadata=Metadata(reservation_id="r1", seat_id=0, table_id="t1"),
        previous_checksum=GENESIS,
        seq=4,
        timestamp=NOW,
        transaction_id="007-x",
        type=TransactionType.BUY_IN,
        v=1,
    )
    text = (
        '{"accountId":"alice","amount":-30,"balanceAfter":70,"balanceBefore":100,"commandId":"c-1",'
        '"entryId":"alice|4","idempotencyKey":"k","metadata":{"reservationId":"r1","seatId":0,'
        '"tableId":"t1"},"previousChecksum":"GENESIS","seq":4,"timestamp":1700000000000,'
        '"transactionId":"007-x","type":"BUY_IN","v":1}'
    )
    assert seal(entry)[1] == f"{sha256(text.encode()).hexdigest()} {text}"


@pytest.mark.parametrize("struct", [LedgerEntry, Metadata])
def test_the_members_stand_in_order(struct: type[msgspec.Struct]) -> None:
    """The encoder writes them as they stand, so whoever adds one puts it in its place."""
    assert list(struct.__struct_encode_fields__) == sorted(struct.__struct_encode_fields__)


def chain(*amounts: int) -> tuple[Account, list[Posting]]:
    """An account after these postings, and their links."""
    account, postings = open_account("alice", "Deposit", NOW), []
    for number, amount in enumerate(amounts):
        account, posting = post(
            account,
            amount,
            TransactionType.DEPOSIT if amount > 0 else TransactionType.WITHDRAW,
            Metadata(source='Grüße "🂡"'),
            Origin(f"007-{number}", NOW),
        )
        postings.append(posting)
    return account, postings


ELEMENT = chain(100)[1][0].element.encode()


def test_no_byte_can_change_unnoticed() -> None:
    """Not one, to any value, nor be left out or doubled; of the checksum, the space, or the entry."""
    assert unseal(ELEMENT)
    for place in range(len(ELEMENT)):
        before, byte, after = ELEMENT[:place], ELEMENT[place : place + 1], ELEMENT[place + 1 :]
        changed = [before + bytes([value]) + after for value in range(256) if value != byte[0]]
        for element in [*changed, before + after, before + byte + byte + after]:
            with pytest.raises(BrokenChain):
                unseal(element)


@pytest.mark.parametrize(
    ("canonical_json", "reason"),
    [
        (b"", "unreadable entry"),
        (b"{}", "unreadable entry"),
        (b"\xff", "unreadable entry"),
        (ELEMENT[65:].replace(b'"v":1', b'"v":2'), "unknown entry version 2"),
        (ELEMENT[65:].replace(b'"DEPOSIT"', b'"GIFT"'), "unreadable entry"),
        (ELEMENT[65:].replace(b'"amount":100', b'"amount":1.5'), "unreadable entry"),
    ],
)
def test_a_right_checksum_makes_no_entry(canonical_json: bytes, reason: str) -> None:
    """An unknown version is never guessed."""
    with pytest.raises(BrokenChain, match=reason):
        unseal(checksum(canonical_json).encode() + b" " + canonical_json)


def test_links_hold_each_other() -> None:
    """Each names the checksum of the one before; the first names none; the account names the last."""
    account, postings = chain(100, -30, 7)
    digests = [posting.element[:64] for posting in postings]
    assert [each.entry.previous_checksum for each in postings] == [GENESIS, *digests[:-1]]
    assert [each.entry.seq for each in postings] == [1, 2, 3]
    assert [each.entry.entry_id for each in postings] == ["alice|1", "alice|2", "alice|3"]
    assert [each.entry.balance_before for each in postings] == [0, 100, 70]
    assert (account.balance, account.version, account.seq, account.checksum) == (77, 3, 3, digests[-1])


def test_an_initial_balance_is_entry_0_and_no_version() -> None:
    """Versions count changes, and a creation is none."""
    origin = Origin("007-0", NOW)
    opened = open_account("alice", "EnsureAccount", NOW)
    account, posting = post(opened, 5, TransactionType.DEPOSIT, Metadata(), origin, initial=True)
    assert (account.version, account.seq, posting.entry.seq) == (0, 0, 0)
    assert post(account, 1, TransactionType.BONUS, Metadata(), origin)[0].seq == 1


def test_a_tail_that_is_the_accounts_own_passes() -> None:
    """Also the missing tail of an account that never had chips."""
    account, postings = chain(100, -30)
    check_tail(account, postings[-1].element.encode())
    check_tail(open_account("alice", "EnsureAccount", NOW), None)


ALICE, (FIRST, LAST) = chain(100, -30)
BOBS = seal(replace(LAST.entry, account_id="bob"))
MORE = seal(replace(LAST.entry, balance_after=71))
LATER = seal(replace(LAST.entry, seq=3))


@pytest.mark.parametrize(
    ("account", "element", "reason"),
    [
        (ALICE, None, "the last entry is missing"),
        (replace(ALICE, balance=0), None, "the last entry is missing"),
        (replace(open_account("alice", "", NOW), balance=1), None, "the last entry is missing"),
        (ALICE, FIRST.element, "not the one the account names"),
        (open_account("alice", "", NOW), FIRST.element, "not the one the account names"),
        (replace(ALICE, checksum="0" * 64), LAST.element, "not the one the account names"),
        (replace(ALICE, seq=1), LAST.element, "not the one the account names"),
        (replace(ALICE, checksum=BOBS[0]), BOBS[1], "not the one the account names"),
        (replace(ALICE, checksum=LATER[0]), LATER[1], "not the one the account names"),
        (replace(ALICE, balance=71), LAST.element, "balance is 71, the last entry says 70"),
        (replace(ALICE, checksum=MORE[0]), MORE[1], "balance is 70, the last entry says 71"),
        (ALICE, LAST.element.replace("70", "71"), "checksum does not match the entry"),
        (ALICE, "", "checksum does not match the entry"),
    ],
)
def test_a_tail_that_is_not_the_accounts_own_breaks_the_chain(
    account: Account, element: str | None, reason: str
) -> None:
    """Missing, of another place, of another account, of another balance, or changed."""
    with pytest.raises(BrokenChain, match=reason):
        check_tail(account, None if element is None else element.encode())


def test_chips_are_made_by_four_types_and_ended_by_one() -> None:
    """The supply equation of the contract: deposits less withdrawals."""
    assert {each.value for each in SOURCES} == {"DEPOSIT", "BONUS", "REFERRAL", "PAYOUT"}
    at_tables = {"BUY_IN", "CASH_OUT", "POT_WIN", "RAKE"}
    assert {each.value for each in TransactionType} == {*SOURCES, "WITHDRAW", *at_tables}
