"""The Store port: records by domain ids, loaded in one picture, committed all or nothing."""

import msgspec
import pytest

from app.domain.accounts import FROZEN
from app.domain.commands import CashOut, Command, Commit, Deposit, EnsureAccount, Release, Reserve, Withdraw
from app.domain.ledger import GENESIS, checksum
from app.domain.outcomes import Answer, Outcome
from app.domain.records import RefusalRecord
from app.domain.requests import Request
from app.domain.reservations import COMMITTED, HELD, RELEASED
from app.domain.state import State
from app.services.changes import Changes
from app.services.faults import StoreRefused
from app.services.parking import park
from app.services.ports import Wanted
from app.services.work import Delivery
from app.storage import keys
from tests.support.carrying import Carrier, decided, deposits, id_in, ids_in, load_all
from tests.support.grounds import Ground, plan_of, read, write

ANNA, BERT = id_in(1), id_in(2)
TABLE = id_in(3)


# Loading


def test_what_was_never_written_is_known_to_be_absent(ground: Ground, carrier: Carrier) -> None:
    """A decision must be able to tell `is not there` from `was not asked for`."""
    reserve = Request(Reserve(account_id=ANNA, table_id=TABLE, amount=5), partition=1, key="k")
    before = ground.dump()
    state = load_all(
        carrier.store,
        accounts=[ANNA],
        reservations=[reserve.record_id],
        transactions=[reserve.record_id],
        refusals=[reserve.refusal_key],
        seats=[(TABLE, ANNA)],
    )
    assert state == State(
        accounts={ANNA: None},
        holds={ANNA: {}},
        reservations={reserve.record_id: None},
        transactions={reserve.record_id: None},
        refusals={reserve.refusal_key: None},
        in_play={(TABLE, ANNA): 0},
    )
    assert ground.dump() == before


def test_what_one_store_committed_another_one_loads(ground: Ground, carrier: Carrier) -> None:
    """
    Given a deposit, a buy-in, a hold and a refusal
    Expect every record of them, equal to what was answered.
    """
    deposit = Request(Deposit(account_id=ANNA, amount=100, source="shop"), partition=1, key="d")
    too_much = Request(Withdraw(account_id=ANNA, amount=101), partition=1, key="w")
    buy_in, hold = (Reserve(account_id=ANNA, table_id=TABLE, amount=amount) for amount in (30, 20))
    (paid,) = carrier.carry_out((deposit.command, "d"))
    bought, held, refused = carrier.carry_out((buy_in, "r1"), (hold, "r2"), (too_much.command, "w"))
    (committed,) = carrier.carry_out((Commit(reservation_id=bought.reservation_id), ""))

    state = load_all(
        Carrier(ground.backend()).store,
        accounts=[ANNA],
        reservations=[bought.reservation_id, held.reservation_id],
        transactions=[paid.transaction_id, committed.transaction_id],
        entries=[(ANNA, 1), (ANNA, 2)],
        refusals=[too_much.refusal_key],
        seats=[(TABLE, ANNA)],
    )
    account = state.accounts[ANNA]
    assert account is not None
    assert (account.balance, account.reserved, account.version, account.revision) == (70, 20, 2, 3)
    assert account.created_by == "Deposit"
    assert [(hold.amount, key) for key, hold in state.holds[ANNA].items()] == [(20, held.reservation_id)]
    statuses = {key: each and each.status for key, each in state.reservations.items()}
    assert statuses == {bought.reservation_id: COMMITTED, held.reservation_id: HELD}
    record = state.transactions[paid.transaction_id]
    assert record is not None
    assert (record.account_id, record.seq, record.fingerprint) == (ANNA, 1, deposit.fingerprint)
    first, second = state.entries[ANNA, 1], state.entries[ANNA, 2]
    assert first is not None
    assert second is not None
    assert (first.amount, first.previous_checksum, first.metadata.source) == (100, GENESIS, "shop")
    assert (second.amount, second.transaction_id) == (-30, committed.transaction_id)
    assert second.previous_checksum == checksum(msgspec.json.encode(first))
    assert account.checksum == checksum(msgspec.json.encode(second))
    assert state.refusals[too_much.refusal_key] == RefusalRecord(
        fingerprint=too_much.fingerprint, answer=refused
    )
    assert refused.outcome is Outcome.INSUFFICIENT_BALANCE
    assert state.in_play[TABLE, ANNA] == 30


def test_the_time_of_a_load_is_the_servers(ground: Ground, carrier: Carrier) -> None:
    before, _ = carrier.backend.read(plan_of())
    ground.pass_time(5)
    assert carrier.store.load(Wanted(), State()) >= before + 5


def test_an_account_whose_ledger_does_not_end_as_it_says_comes_frozen(carrier: Carrier) -> None:
    """
    If somebody has put an entry, or taken the last one, or changed the balance by hand
    Expect that nothing is built on it, and that the reason is told.
    """
    one, two, three, well = (name for name, _ in zip(ids_in(1), range(4), strict=False))
    for name in (one, two, three, well):
        carrier.carry_out(*deposits(name, 1, 2))
    (elements,) = read(carrier.backend, ("LRANGE", keys.ledger(1, one, 0), 0, -1))
    write(
        carrier.backend,
        ("RPUSH", keys.ledger(1, one, 0), elements[0].decode()),
        ("RPUSH", keys.ledger(1, two, 0), "0" * 64 + " {}"),
        ("HSET", keys.account(1, three), "balance", 1_000_000),
    )
    state = load_all(carrier.store, accounts=[one, two, three, well])
    assert state.broken.keys() == {one, two, three}
    assert "not the one the account names" in state.broken[one]
    assert "checksum" in state.broken[two]
    assert "1000000" in state.broken[three]
    statuses = [account and account.status for account in state.accounts.values()]
    assert sorted(map(str, statuses)) == ["ACTIVE", FROZEN, FROZEN, FROZEN]


def test_a_ledger_that_is_gone_freezes_its_account(carrier: Carrier) -> None:
    """The head says that there is one."""
    write(
        carrier.backend,
        ("HSET", keys.account(1, ANNA), "balance", 5, "reserved", 0, "currency", "CHIPS", "version", 1),
        ("HSET", keys.account(1, ANNA), "revision", 1, "seq", 1, "checksum", "f" * 64, "status", "ACTIVE"),
        ("HSET", keys.account(1, ANNA), "createdBy", "Deposit", "createdAt", 1, "updatedAt", 1),
    )
    assert load_all(carrier.store, accounts=[ANNA]).broken == {ANNA: "the last entry is missing"}


def test_a_ledger_that_a_later_release_wrote_on_is_refused_and_not_frozen(carrier: Carrier) -> None:
    """Nothing is wrong with it: a worker of that release will read it."""
    carrier.carry_out(*deposits(ANNA, 1, 1))
    (element,) = read(carrier.backend, ("LINDEX", keys.ledger(1, ANNA, 0), -1))
    later = element.partition(b" ")[2].replace(b'"v":1', b'"v":2')
    write(carrier.backend, ("RPUSH", keys.ledger(1, ANNA, 0), f"{checksum(later)} {later.decode()}"))
    with pytest.raises(StoreRefused, match=f"account {ANNA}"):
        load_all(carrier.store, accounts=[ANNA])


@pytest.mark.parametrize(
    ("field", "text"),
    [("balance", "a lot"), ("checksum", None), ("revision", "1.5"), ("updatedAt", "")],
)
def test_an_account_that_cannot_be_read_is_refused(carrier: Carrier, field: str, text: str | None) -> None:
    """Never guessed: the commands that need it are parked."""
    carrier.carry_out(*deposits(ANNA, 1, 1))
    key = keys.account(1, ANNA)
    write(carrier.backend, ("HDEL", key, field) if text is None else ("HSET", key, field, text))
    with pytest.raises(StoreRefused, match=f"account {ANNA}"):
        load_all(carrier.store, accounts=[ANNA])


@pytest.mark.parametrize("text", ["no json", "{}", '{"v":2,"accountId":"a","seq":1,"fingerprint":"f"}'])
def test_a_record_of_an_unknown_shape_or_version_is_refused(carrier: Carrier, text: str) -> None:
    """A release that does not know a record must not act on it."""
    record_id = Request(Deposit(account_id=ANNA, amount=1), partition=1, key="k").record_id
    write(carrier.backend, ("SET", keys.transaction(1, record_id), text))
    with pytest.raises(StoreRefused, match="transaction record"):
        load_all(carrier.store, transactions=[record_id])


# Committing


def test_a_stale_account_is_a_conflict_and_writes_nothing(ground: Ground, carrier: Carrier) -> None:
    """
    Given two deposits decided on the same balance
    Expect that the second one is told to load again.
    """
    carrier.carry_out(*deposits(ANNA, 1, 1))
    one, other = (decided(carrier.store, (Deposit(account_id=ANNA, amount=1), key)) for key in ("a", "b"))
    assert carrier.store.commit(one, [], 1).applied
    before = ground.dump()
    result = carrier.store.commit(other, [], 1)
    assert (result.applied, result.conflict, result.lost) == (False, True, frozenset())
    assert ground.dump() == before


def test_an_account_is_opened_once(carrier: Carrier) -> None:
    """Absence is compared as absence: nobody opens what another one has just opened."""
    one, other = (decided(carrier.store, *deposits(ANNA, number, number)) for number in (1, 2))
    assert carrier.store.commit(one, [], 1).applied
    assert carrier.store.commit(other, [], 1).conflict
    account = load_all(carrier.store, accounts=[ANNA]).accounts[ANNA]
    assert account is not None
    assert (account.balance, account.revision) == (1, 1)


def test_holds_count_as_changes(carrier: Carrier) -> None:
    """Two holds decided on the same chips would hold them twice; the version that callers see stays."""
    carrier.carry_out(*deposits(ANNA, 1, 10))
    reserve = Reserve(account_id=ANNA, table_id=TABLE, amount=10)
    one, other = (decided(carrier.store, (reserve, key)) for key in ("a", "b"))
    assert carrier.store.commit(one, [], 1).applied
    assert carrier.store.commit(other, [], 1).conflict
    account = load_all(carrier.store, accounts=[ANNA]).accounts[ANNA]
    assert account is not None
    assert (account.version, account.revision) == (10, 2)


def test_a_record_that_exists_is_not_made_again(ground: Ground, carrier: Carrier) -> None:
    """The same transaction, reservation or refusal twice is a conflict, also beside an unchanged account."""
    carrier.carry_out(*deposits(ANNA, 1, 1))
    orders: list[tuple[Command, str]] = [
        (Deposit(account_id=ANNA, amount=1), "new"),
        (Reserve(account_id=ANNA, table_id=TABLE, amount=1), "hold"),
        (Withdraw(account_id=ANNA, amount=50), "too much"),
    ]
    for order in orders:
        changes = decided(carrier.store, order)
        assert carrier.store.commit(changes, [], 1).applied
        account = load_all(carrier.store, accounts=[ANNA]).accounts[ANNA]
        assert account is not None
        for change in changes.accounts.values():
            change.before = account
        before = ground.dump()
        assert carrier.store.commit(changes, [], 1).conflict, order
        assert ground.dump() == before


def test_chips_in_play_are_compared_only_where_a_decision_looked(carrier: Carrier) -> None:
    """Plain increments never conflict; what `enforce` relied on must still be so."""
    brought = Changes(in_play={(TABLE, ANNA): 10})
    assert carrier.store.commit(brought, [], 1).applied
    assert carrier.store.commit(brought, [], 1).applied
    relied = Changes(in_play={(TABLE, ANNA): -20}, in_play_before={(TABLE, ANNA): 20})
    assert carrier.store.commit(relied, [], 1).applied
    assert carrier.store.commit(relied, [], 1).conflict
    assert load_all(carrier.store, seats=[(TABLE, ANNA)]).in_play == {(TABLE, ANNA): 0}


def test_a_lost_partition_is_told_and_nothing_is_written(ground: Ground, carrier: Carrier) -> None:
    """
    Given deliveries of three partitions, of which another worker has taken two, and a conflict
    Expect all of it in one result: the rest can be redone at once.
    """
    own = [carrier.deliver(*deposits(id_in(each), 1, 1)) for each in (0, 1, 2)]
    stale = decided(carrier.store, *deposits(ANNA, 1, 1))
    carrier.carry_out(*deposits(ANNA, 2, 2))
    write(ground.backend(), ("HSET", keys.partition(0), "epoch", 9), ("HSET", keys.partition(2), "epoch", 9))
    before = ground.dump()
    result = carrier.store.commit(stale, own, 1)
    assert (result.lost, result.conflict) == (frozenset({0, 2}), True)
    result = carrier.store.commit(Changes(), own, 1)
    assert (result.lost, result.conflict) == (frozenset({0, 2}), False)
    assert ground.dump() == before
    assert carrier.store.commit(Changes(), [own[1]], 1).applied


def answered(delivery: Delivery, *balances: int) -> Delivery:
    """The delivery with answers for its first commands."""
    for work, balance in zip(delivery.works, balances, strict=False):
        work.answer = Answer(balance=balance)
    return delivery


def test_one_account_may_change_ten_thousand_times_in_one_commit(ground: Ground, carrier: Carrier) -> None:
    """A message of settlements may pay one account 64 times each: no list may be too long to be written."""
    changes = decided(carrier.store, *deposits(ANNA, 1, 10_000))
    assert carrier.store.commit(changes, [], now=1).applied
    found = ground.dump()
    assert len(found[keys.transactions_of(1, ANNA, "DEPOSIT")].value) == 10_000
    account = load_all(Carrier(ground.backend()).store, accounts=[ANNA]).accounts[ANNA]
    assert account is not None
    assert (account.balance, account.seq, account.frozen) == (10_000, 10_000, False)


def test_a_finished_delivery_is_answered_and_gone(ground: Ground, carrier: Carrier) -> None:
    """
    Given two finished deliveries for one front end, and an unfinished one
    Expect one entry with both messages' answers, in the commands' order; the third is still in its queue.
    """
    one = answered(carrier.deliver(*deposits(ANNA, 1, 2), reply_to="front"), 1, 2)
    two = answered(carrier.deliver(*deposits(BERT, 1, 1), reply_to="front"), 1)
    open_one = answered(carrier.deliver(*deposits(ANNA, 3, 4), reply_to="front"), 3)
    assert carrier.store.commit(Changes(), [one, two, open_one], 1).applied
    found = ground.dump()
    ((_, answers),) = found[keys.results("front")].value
    assert msgspec.json.decode(answers) == [
        [one.message_id, [{"balance": 1}, {"balance": 2}]],
        [two.message_id, [{"balance": 1}]],
    ]
    assert found[keys.results("front")].expires_at > 0
    assert found[keys.queue(2, "interactive")].value == []
    assert [entry_id for entry_id, _ in found[keys.queue(1, "interactive")].value] == [open_one.entry_id]


def test_a_delivery_that_nobody_waits_for_is_only_removed(ground: Ground, carrier: Carrier) -> None:
    delivery = answered(carrier.deliver(*deposits(ANNA, 1, 1)), 1)
    assert carrier.store.commit(Changes(), [delivery], 1).applied
    assert ground.dump()[keys.queue(1, "interactive")].value == []
    assert not [key for key in ground.dump() if key.startswith(keys.results(""))]


def test_a_commit_leaves_its_time_for_the_next_owner(ground: Ground, carrier: Carrier) -> None:
    """Time never goes back in a partition, whatever happens to the server's clock."""
    carrier.store.commit(Changes(), [carrier.deliver(*deposits(ANNA, 1, 1))], 1_700_000_000_456)
    _, leases = ground.backend().acquire("carrier", [1], 1_000, 1)
    assert [lease.last_time for lease in leases] == [1_700_000_000_456]


def test_a_clock_that_stands_at_1970_breaks_no_commit(carrier: Carrier) -> None:
    """A machine may start without knowing the date; the events of a week before that have no negative id."""
    assert carrier.store.commit(decided(carrier.store, *deposits(ANNA, 1, 3)), [], 1).applied
    account = load_all(carrier.store, accounts=[ANNA]).accounts[ANNA]
    assert account is not None
    assert account.balance == 3


def test_a_refusal_is_forgotten_after_its_time_and_a_parked_command_never(ground: Ground) -> None:
    """A refusal may be tried again one day; what ops must look at stays until they have."""
    carrier = Carrier(ground.backend(), refusal_ttl_ms=40)
    refused = Request(Withdraw(account_id=ANNA, amount=1), partition=1, key="w")
    (answer,) = carrier.carry_out((refused.command, "w"))
    assert answer.outcome is Outcome.ACCOUNT_NOT_FOUND
    delivery = carrier.deliver((Deposit(account_id=ANNA, amount=1), "d"))
    (work,) = delivery.works
    work.condemn("our code raised")
    changes = Changes()
    parked = park(work, State(), changes, 1)
    assert carrier.store.commit(changes, [answered(delivery, 0)], 1).applied
    ground.pass_time(41)
    request = work.request
    assert request is not None
    state = load_all(carrier.store, refusals=[refused.refusal_key, request.refusal_key])
    assert state.refusals == {
        refused.refusal_key: None,
        request.refusal_key: RefusalRecord(fingerprint=request.fingerprint, answer=parked),
    }
    (letter,) = ground.dump()[keys.dead_letters(1)].value.values()
    assert msgspec.json.decode(letter)["error"] == "our code raised"


def test_a_release_frees_what_was_held_and_is_remembered(ground: Ground, carrier: Carrier) -> None:
    """The indexes of held reservations hold only those."""
    carrier.carry_out(*deposits(ANNA, 1, 10))
    (held,) = carrier.carry_out((Reserve(account_id=ANNA, table_id=TABLE, amount=4), "r"))
    assert keys.reservation_expiry(1) in ground.dump()
    carrier.carry_out((Release(reservation_id=held.reservation_id), ""))
    state = load_all(carrier.store, accounts=[ANNA], reservations=[held.reservation_id])
    reservation, account = state.reservations[held.reservation_id], state.accounts[ANNA]
    assert reservation is not None
    assert account is not None
    assert (reservation.status, account.reserved, state.holds[ANNA]) == (RELEASED, 0, {})
    found = ground.dump()
    assert keys.reservation_expiry(1) not in found
    assert found[keys.reservation(1, held.reservation_id)].expires_at > 0


def test_the_totals_are_the_sums_of_what_was_written(ground: Ground, carrier: Carrier) -> None:
    """The audit adds up one small hash per partition instead of walking every account."""
    carrier.carry_out((EnsureAccount(account_id=ANNA, initial_balance=50), ""))
    carrier.carry_out((Deposit(account_id=ANNA, amount=60), "d"), (Withdraw(account_id=ANNA, amount=10), "w"))
    held, kept = carrier.carry_out(
        *((Reserve(account_id=ANNA, table_id=TABLE, amount=amount), f"r{amount}") for amount in (30, 20))
    )
    carrier.carry_out((Commit(reservation_id=held.reservation_id), ""))
    carrier.carry_out((CashOut(account_id=ANNA, table_id=TABLE, amount=5), "c"))
    assert kept.ok
    found = ground.dump()
    assert found[keys.totals(1)].value == {
        "accounts": b"1",
        "entries": b"5",
        "CHIPS|balances": b"75",
        "CHIPS|held": b"20",
        "CHIPS|type|DEPOSIT": b"110",
        "CHIPS|type|WITHDRAW": b"-10",
        "CHIPS|type|BUY_IN": b"-30",
        "CHIPS|type|CASH_OUT": b"5",
    }
    assert found[keys.totals(3)].value == {"CHIPS|inPlay": b"25"}
    assert found[keys.account_ids(1)].value == {ANNA}
