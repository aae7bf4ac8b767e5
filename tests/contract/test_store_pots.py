"""The Store port on pots: opened, grown, paid and cancelled, each in one commit with all that it moves."""

from collections.abc import Iterable

import msgspec
import pytest

from app.domain.commands import (
    CancelPot,
    CashOut,
    Command,
    Commit,
    Deposit,
    RecordContribution,
    Reserve,
    SettlePot,
    Winner,
    Withdraw,
)
from app.domain.identifiers import house_of
from app.domain.outcomes import Answer, Outcome
from app.domain.policy import Policy
from app.domain.pots import ACTIVE, CANCELLED, SETTLED, Pot
from app.domain.requests import Request
from app.domain.state import State
from app.services.changes import Changes
from app.services.faults import StoreRefused
from app.services.loading import load
from app.services.ports import Wanted
from app.storage import keys
from app.storage.writing import POT_KEPT_SECONDS
from tests.support.carrying import PARTITIONS, Carrier, Order, decided, id_in, load_all
from tests.support.grounds import Dump, Ground, write

ANNA, BERT, CARL = id_in(1), id_in(2), id_in(0)
TABLE = id_in(3)
HOUSE = house_of(3)
HAND = (TABLE, "h1")
POT = keys.pot(3, *HAND)
ACTIVE_POTS = keys.active_pots(3)
DAY_MS = 86_400_000


@pytest.fixture
def carrier(ground: Ground) -> Carrier:
    """The owner of all partitions; Anna, Bert and Carl have brought 100 chips each to the table."""
    found = Carrier(ground.backend())
    for account_id in (ANNA, BERT, CARL):
        (held,) = found.carry_out(
            (Deposit(account_id=account_id, amount=150), "d"),
            (Reserve(account_id=account_id, table_id=TABLE, amount=100), "b"),
        )[1:]
        found.carry_out((Commit(reservation_id=held.reservation_id), ""))
    return found


def bet(seat_id: int, account_id: str, amount: int, hand_id: str = "h1") -> Order:
    """A contribution under a key that names its seat and chips."""
    command = RecordContribution(
        table_id=TABLE, hand_id=hand_id, seat_id=seat_id, account_id=account_id, amount=amount
    )
    return command, f"{hand_id}-{seat_id}-{amount}"


def settle(*winners: tuple[int, str, int], key: str = "settle", to: str = "ACCOUNT") -> Order:
    """A settlement: seat, account and chips of each winner."""
    paid = tuple(Winner(seat_id=seat, account_id=who, amount=amount) for seat, who, amount in winners)
    return SettlePot(table_id=TABLE, hand_id="h1", winners=paid, payout_to=to), key


CANCEL: Order = (CancelPot(table_id=TABLE, hand_id="h1", reason="misdeal"), "")
BETS = (bet(1, ANNA, 40), bet(2, BERT, 40), bet(3, CARL, 20))
PAID = settle((1, ANNA, 60), (2, BERT, 40))


def pot_of(carrier: Carrier) -> Pot:
    """The pot of the hand as it is loaded."""
    pot = load_all(carrier.store, pots=[HAND]).pots[HAND]
    assert pot is not None
    return pot


def table_of(dump: Dump) -> dict[str, int]:
    """The fields of the table."""
    return {field: int(chips) for field, chips in dump[keys.table(3, TABLE)].value.items()}


def totals_of(dump: Dump, *names: str) -> dict[str, int]:
    """These totals of the table's partition."""
    found = dump[keys.totals(3)].value
    return {name: int(found.get(f"CHIPS|{name}", 0)) for name in names}


def in_play(**pots: int) -> dict[str, int]:
    """What the table looks like after the bets."""
    fields = {keys.in_play_field(ANNA): 60, keys.in_play_field(BERT): 60, keys.in_play_field(CARL): 80}
    return fields | {keys.pot_field(hand_id): chips for hand_id, chips in pots.items()}


def loaded_for(carrier: Carrier, orders: Iterable[Order]) -> State:
    """All that a unit with these commands loads."""
    requests = [Request(command, partition=3, key=key) for command, key in orders]
    return load(carrier.store, requests, Policy(partitions=PARTITIONS), 0)[0]


def test_a_pot_nobody_has_paid_into_is_known_to_be_absent(ground: Ground, carrier: Carrier) -> None:
    """So are the answers of its commands; a look changes nothing."""
    before = ground.dump()
    state = loaded_for(carrier, [BETS[0], PAID])
    assert state.pots == {HAND: None}
    assert list(state.answers.values()) == [None, None]
    assert state.accounts.keys() == {ANNA, BERT, HOUSE}
    assert ground.dump() == before


def test_contributions_open_a_pot_and_grow_it(ground: Ground, carrier: Carrier) -> None:
    """The first one alone, the others in one unit; what was written is what the next unit loads."""
    (first,) = carrier.carry_out(BETS[0])
    opened = pot_of(carrier)
    assert (opened.version, opened.total, opened.status) == (1, 40, ACTIVE)
    assert ground.dump()[ACTIVE_POTS].value == {f"{TABLE}|h1": opened.created_at}
    told = carrier.carry_out(*BETS[1:])
    assert [(each.total_pot, each.seat_contribution) for each in (first, *told)] == [
        (40, 40),
        (80, 40),
        (100, 20),
    ]
    pot = pot_of(carrier)
    assert (pot.version, pot.total, pot.pot_id) == (3, 100, opened.pot_id)
    assert [(each.seat_id, each.account_id, each.amount) for each in pot.entries] == [
        (1, ANNA, 40),
        (2, BERT, 40),
        (3, CARL, 20),
    ]
    found = ground.dump()
    assert found[POT].expires_at == 0
    assert found[ACTIVE_POTS].value == {f"{TABLE}|h1": opened.created_at}
    assert table_of(found) == in_play(h1=100)
    assert totals_of(found, "inPlay", "inPots", "house") == {"inPlay": 200, "inPots": 100, "house": 0}


def test_a_settlement_pays_accounts_of_other_partitions_in_the_same_commit(
    ground: Ground, carrier: Carrier
) -> None:
    """Pot, winners, ledgers, house, table and totals: after one commit more than before, all is done."""
    carrier.carry_out(*BETS)
    commits = int(ground.dump()[keys.META].value["commits"])
    (answer,) = carrier.carry_out(PAID)
    found = ground.dump()
    assert int(found[keys.META].value["commits"]) == commits + 1
    assert [(each.account_id, each.amount, each.new_balance) for each in answer.results] == [
        (ANNA, 57, 107),  # 5 chips of rake: 57 and 38
        (BERT, 38, 88),
    ]
    pot = pot_of(carrier)
    assert (pot.status, pot.version, pot.rake_amount, pot.results) == (SETTLED, 4, 5, answer.results)
    state = load_all(carrier.store, accounts=[ANNA, BERT, HOUSE], transactions=_paid(pot))
    assert {name: each and each.balance for name, each in state.accounts.items()} == {
        ANNA: 107,
        BERT: 88,
        HOUSE: 5,
    }
    assert {each and each.account_id for each in state.transactions.values()} == {ANNA, BERT, HOUSE}
    assert ACTIVE_POTS not in found
    assert table_of(found) == in_play()
    assert totals_of(found, "inPlay", "inPots", "house", "balances", "type|RAKE") == {
        "inPlay": 200,
        "inPots": 0,
        "house": 5,
        "balances": 0,
        "type|RAKE": 5,
    }
    for partition, won in ((1, b"57"), (2, b"38")):
        assert found[keys.totals(partition)].value["CHIPS|type|POT_WIN"] == won


def test_winnings_that_stay_on_the_table_change_no_account(ground: Ground, carrier: Carrier) -> None:
    """Only the rake is posted; the chips are in play again."""
    carrier.carry_out(*BETS)
    (answer,) = carrier.carry_out(settle((1, ANNA, 100), to="TABLE"))
    assert [(each.amount, each.transaction_id) for each in answer.results] == [(95, "")]
    found = ground.dump()
    assert table_of(found) == in_play() | {keys.in_play_field(ANNA): 155}
    assert totals_of(found, "inPlay", "inPots", "house") == {"inPlay": 295, "inPots": 0, "house": 5}


def test_a_cancelled_pot_leaves_the_table_as_it_was(ground: Ground, carrier: Carrier) -> None:
    """The pot is out of the index, and the totals are what they were."""
    before = ground.dump()
    carrier.carry_out(*BETS)
    carrier.carry_out(CANCEL)
    pot, found = pot_of(carrier), ground.dump()
    assert (pot.status, pot.version, pot.reason, pot.chips) == (CANCELLED, 4, "misdeal", 0)
    assert ACTIVE_POTS not in found
    assert table_of(found) == table_of(before)
    assert totals_of(found, "inPlay", "inPots") == {"inPlay": 300, "inPots": 0}


def test_a_hand_that_begins_and_ends_in_one_unit_is_written_ended(ground: Ground, carrier: Carrier) -> None:
    """It was never active where anybody could see it; two pots of one table do not meet."""
    other = bet(1, ANNA, 10, "h2")
    answers = carrier.carry_out(*BETS, other, PAID, settle((1, ANNA, 100), key="again"))
    assert [each.ok for each in answers] == [True] * 6
    assert answers[5].results == answers[4].results
    assert pot_of(carrier).status == SETTLED
    found = ground.dump()
    assert found[POT].expires_at > 0
    assert list(found[ACTIVE_POTS].value) == [f"{TABLE}|h2"]
    assert table_of(found) == in_play(h2=10) | {keys.in_play_field(ANNA): 50}


CHANGED: list[tuple[Order, Order]] = [
    (bet(1, ANNA, 7), bet(2, BERT, 9)),
    (PAID, bet(2, BERT, 9)),
    (CANCEL, bet(2, BERT, 9)),
    (bet(1, ANNA, 7), CANCEL),
    (PAID, CANCEL),
]


@pytest.mark.parametrize(("mine", "meanwhile"), CHANGED)
def test_a_pot_that_has_changed_meanwhile_is_a_conflict_and_writes_nothing(
    ground: Ground, carrier: Carrier, mine: Order, meanwhile: Order
) -> None:
    """Whoever decided on it must look again."""
    carrier.carry_out(*BETS)
    stale = decided(carrier.store, mine)
    carrier.carry_out(meanwhile)
    before = ground.dump()
    assert carrier.store.commit(stale, [], 1).conflict
    assert ground.dump() == before


def test_a_pot_is_opened_once(ground: Ground, carrier: Carrier) -> None:
    """Absence is compared too: the second of two first bets must see the first."""
    stale = decided(carrier.store, bet(1, ANNA, 7))
    carrier.carry_out(BETS[1])
    before = ground.dump()
    assert carrier.store.commit(stale, [], 1).conflict
    assert ground.dump() == before


MEANWHILE: list[Command] = [
    Deposit(account_id=ANNA, amount=1),
    Reserve(account_id=BERT, table_id="t", amount=1),
    Withdraw(account_id=BERT, amount=1),
    CashOut(account_id=ANNA, table_id=TABLE, amount=1),
]


@pytest.mark.parametrize("meanwhile", MEANWHILE, ids=lambda command: command.kind)
def test_one_changed_winner_stops_the_whole_settlement(
    ground: Ground, carrier: Carrier, meanwhile: Command
) -> None:
    """
    Given a settlement for two winners, and another owner who has changed one of their accounts
    Expect that nobody is paid and nothing is written; decided anew, everybody is paid.
    """
    carrier.carry_out(*BETS)
    stale = decided(carrier.store, PAID)
    carrier.carry_out((meanwhile, "meanwhile"))
    before = ground.dump()
    assert carrier.store.commit(stale, [], 1).conflict
    assert ground.dump() == before
    assert carrier.store.commit(decided(carrier.store, PAID), [], 1).applied


def test_a_changed_house_stops_the_settlement_too(ground: Ground, carrier: Carrier) -> None:
    """Its rake is part of the same commit."""
    carrier.carry_out(*BETS)
    stale = decided(carrier.store, PAID)
    write(ground.backend(), ("HSET", keys.account(3, HOUSE), "revision", 1))
    before = ground.dump()
    assert carrier.store.commit(stale, [], 1).conflict
    assert ground.dump() == before


def test_an_answer_is_recorded_once(ground: Ground, carrier: Carrier) -> None:
    """Whoever has decided a key that is answered by now gets a conflict, even if the pot is as it was."""
    carrier.carry_out(*BETS, PAID)
    again = settle((1, ANNA, 100), key="other key")
    one, other = (decided(carrier.store, again) for _ in range(2))
    assert not one.pots, "a settled pot is not written again"
    assert carrier.store.commit(one, [], 1).applied
    before = ground.dump()
    assert carrier.store.commit(other, [], 1).conflict
    assert ground.dump() == before


def test_chips_are_compared_where_a_bet_must_have_been_brought(ground: Ground) -> None:
    """`enforce` relies on what is in play: what has left by a cash-out meanwhile cannot be bet."""
    carrier = Carrier(ground.backend(), policy=Policy(partitions=PARTITIONS, enforce_table_bank=True))
    carrier.carry_out((Deposit(account_id=ANNA, amount=1), "d"))
    brought = Changes(in_play={(TABLE, ANNA): 40})
    assert carrier.store.commit(brought, [], 1).applied
    assert [each.outcome for each in carrier.carry_out(bet(1, ANNA, 25), bet(1, ANNA, 20))] == [
        Outcome.OK,
        Outcome.NOT_ON_TABLE,
    ]
    relied = Changes(in_play={(TABLE, ANNA): -15}, in_play_before={(TABLE, ANNA): 15})
    carrier.carry_out((CashOut(account_id=ANNA, table_id=TABLE, amount=15), "c"))
    before = ground.dump()
    assert carrier.store.commit(relied, [], 1).conflict
    assert ground.dump() == before


def test_a_pot_is_forgotten_long_after_its_end_and_its_answers_never(
    ground: Ground, carrier: Carrier
) -> None:
    """30 days; whoever repeats a bet after that gets the answer of then, and no pot is opened again."""
    told: list[Answer] = carrier.carry_out(*BETS, PAID)
    found = ground.dump()
    now = carrier.store.load(Wanted(), State())
    left = found[POT].expires_at - now
    assert POT_KEPT_SECONDS * 1_000 - DAY_MS < left <= POT_KEPT_SECONDS * 1_000
    for (command, key), answer in zip((*BETS, PAID), told, strict=True):
        request = Request(command, partition=3, key=key)
        assert found[keys.answer(3, request.record_id)].expires_at == 0
        record = load_all(carrier.store, answers=[request.record_id]).answers[request.record_id]
        assert record is not None
        assert (record.answer, record.fingerprint) == (answer, request.fingerprint)
    write(ground.backend(), ("EXPIRE", POT, 0))
    ground.pass_time(1)
    assert load_all(carrier.store, pots=[HAND]).pots == {HAND: None}
    assert carrier.carry_out(*BETS, PAID) == [msgspec.structs.replace(each, replayed=True) for each in told]
    assert POT not in ground.dump()


def test_an_active_pot_does_not_expire(ground: Ground, carrier: Carrier) -> None:
    """However long a hand takes, its chips are on the books."""
    carrier.carry_out(*BETS)
    assert ground.dump()[POT].expires_at == 0


@pytest.mark.parametrize("text", ["no json", "{}", '{"v":1}'])
def test_a_pot_that_cannot_be_read_is_refused(carrier: Carrier, text: str) -> None:
    """Never guessed: the commands that need it are parked."""
    carrier.carry_out(*BETS)
    write(carrier.backend, ("HSET", POT, "record", text))
    with pytest.raises(StoreRefused, match="pot"):
        load_all(carrier.store, pots=[HAND])


def _paid(pot: Pot) -> list[str]:
    return [entry.transaction_id for entry in pot.entries if entry.transaction_id]
