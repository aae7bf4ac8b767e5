"""The Store port over time: ledgers of many segments, repeated commands, tries by several owners."""

import msgspec
import pytest
from msgspec.structs import replace

from app.domain.accounts import FROZEN, NO_ENTRY, open_account
from app.domain.commands import Command, Deposit, EnsureAccount, Reserve, Withdraw
from app.domain.ledger import GENESIS, checksum
from app.domain.outcomes import Outcome
from app.services.changes import AccountChange, Changes
from app.storage import keys
from tests.support.carrying import PARTITIONS, Carrier, deposits, id_in, load_all
from tests.support.grounds import Ground, read

ANNA, TABLE = id_in(1), id_in(3)


# Ledger segments


@pytest.fixture(params=[0, 7], ids=["empty at first", "with an initial balance"])
def long_ledger(carrier: Carrier, request: pytest.FixtureRequest) -> tuple[Carrier, int]:
    """An account with 2,100 changes, and its balance at the beginning, which makes its entry 0."""
    initial: int = request.param
    carrier.carry_out((EnsureAccount(account_id=ANNA, initial_balance=initial), ""))
    for first in range(1, 2_101, 420):
        carrier.carry_out(*deposits(ANNA, first, first + 419))
    return carrier, initial


def test_a_long_ledger_is_kept_in_segments_and_found_again(
    ground: Ground, long_ledger: tuple[Carrier, int]
) -> None:
    """
    Given three segments
    Expect every entry where its number says, each naming the checksum of the one before.
    """
    carrier, initial = long_ledger
    lengths = read(carrier.backend, *(("LLEN", keys.ledger(1, ANNA, segment)) for segment in range(4)))
    assert lengths == [1_024 if initial else 1_023, 1_024, 2_100 - 2_047, 0]
    first = 0 if initial else 1
    asked = [first, first + 1, 1_022, 1_023, 1_024, 1_025, 2_047, 2_048, 2_099, 2_100]
    state = load_all(Carrier(ground.backend()).store, entries=[(ANNA, seq) for seq in asked])
    found = {seq: entry for (_, seq), entry in state.entries.items() if entry is not None}
    assert {seq: (entry.seq, entry.balance_after) for seq, entry in found.items()} == {
        seq: (seq, initial + seq) for seq in asked
    }
    for seq in (first + 1, 1_023, 1_024, 1_025, 2_048, 2_100):
        assert found[seq].previous_checksum == checksum(msgspec.json.encode(found[seq - 1]))


def test_the_head_of_a_long_ledger_is_found_whatever_was_remembered(ground: Ground, carrier: Carrier) -> None:
    """
    Given a store that saw the account in its first segment, and one that never saw it
    If a third one writes on into the next segment
    Expect that both load the account with its tail, not frozen, and can build on it.
    """
    carrier.carry_out(*deposits(ANNA, 1, 500))
    early = carrier.store
    assert not load_all(early, accounts=[ANNA]).broken
    writer = Carrier(ground.backend())
    for first in (501, 901):
        writer.carry_out(*deposits(ANNA, first, first + 399))
    late = Carrier(ground.backend())
    for store in (early, late.store, writer.store):
        state = load_all(store, accounts=[ANNA])
        account = state.accounts[ANNA]
        assert account is not None
        assert (state.broken, account.balance, account.seq) == ({}, 1_300, 1_300)
    (answer,) = late.carry_out(*deposits(ANNA, 1_301, 1_301))
    assert answer.balance == 1_301


def test_an_entry_that_is_missing_freezes_its_account(carrier: Carrier) -> None:
    carrier.carry_out(*deposits(ANNA, 1, 2))
    state = load_all(carrier.store, accounts=[ANNA], entries=[(ANNA, 3)])
    assert state.entries == {(ANNA, 3): None}
    assert state.broken == {ANNA: "entry 3 is missing or broken"}


# Replays and marks


def test_a_repeated_command_changes_no_record(ground: Ground, carrier: Carrier) -> None:
    """
    Given commands that were applied, and one that was refused
    If they come again, with the account changed in between
    Expect the same answers, marked as replays, and no other record than before.
    """
    orders: list[tuple[Command, str]] = [
        (Deposit(account_id=ANNA, amount=100), "d"),
        (Withdraw(account_id=ANNA, amount=1_000), "w"),
        (Reserve(account_id=ANNA, table_id=TABLE, amount=10), "r"),
    ]
    first = carrier.carry_out(*orders)
    carrier.carry_out((Deposit(account_id=ANNA, amount=5_000), "later"))
    before = records(ground)
    again = Carrier(ground.backend()).carry_out(*orders)
    assert again == [replace(answer, replayed=True) for answer in first]
    assert records(ground) == before


def records(ground: Ground) -> dict[str, object]:
    """Everything but queues, leases and the commit counter."""
    own = (keys.META, keys.WORKERS, *map(keys.partition, range(PARTITIONS)))
    return {
        key: kept
        for key, kept in ground.dump().items()
        if key not in own and not key.startswith("balance:queue")
    }


def test_a_command_about_to_run_alone_is_counted_once_by_each_owner(ground: Ground, carrier: Carrier) -> None:
    """
    Given two commands of one message, tried in their order, and again after the store was away
    Expect 1 for each, then 0: this owner lives, so it has not been killed by them.
    If the next owner tries them
    Expect 2 for the one that was marked last, and that the former owner is told.
    """
    one, two = carrier.deliver(*deposits(ANNA, 1, 2)).works
    assert [carrier.store.mark_trying(work) for work in (one, one, two, one, two)] == [1, 0, 1, 0, 0]
    (later,) = carrier.deliver(*deposits(ANNA, 3, 3)).works
    heir = Carrier(ground.backend())
    two.delivery.epoch = heir.epochs[1]
    assert [heir.store.mark_trying(work) for work in (one, two)] == [0, 2]
    assert carrier.store.mark_trying(later) is None


# New and frozen accounts


def test_an_account_without_entries_has_a_ledger_to_begin(carrier: Carrier) -> None:
    """Opened empty, it is not taken for one that lost its ledger."""
    carrier.carry_out((EnsureAccount(account_id=ANNA), ""))
    state = load_all(carrier.store, accounts=[ANNA])
    account = state.accounts[ANNA]
    assert account is not None
    assert (state.broken, account.seq, account.checksum, account.revision) == ({}, NO_ENTRY, GENESIS, 1)


def test_a_frozen_account_stays_frozen(carrier: Carrier) -> None:
    """The freeze is a change like any other: it is compared, written, and loaded again."""
    account = open_account(ANNA, "EnsureAccount", 1)
    frozen = replace(account, status=FROZEN)
    assert carrier.store.commit(Changes(accounts={ANNA: AccountChange(None, frozen)}), [], 1).applied
    (answer,) = carrier.carry_out(*deposits(ANNA, 1, 1))
    assert answer.outcome is Outcome.ACCOUNT_FROZEN
