"""Two workers, one account: its owner holds and cashes out while the owner of a table bets and pays."""

import secrets
import sys
import threading
from collections import Counter
from collections.abc import Callable
from itertools import count
from random import Random

import pytest

from app.domain.commands import (
    TO_ACCOUNT,
    TO_TABLE,
    CancelPot,
    CashOut,
    Commit,
    Deposit,
    RecordContribution,
    Release,
    Reserve,
    SettlePot,
    Winner,
)
from app.domain.identifiers import house_of
from app.domain.ledger import TransactionType
from app.domain.outcomes import Outcome
from app.domain.policy import Policy
from app.storage import keys
from app.storage.auditing import Auditor
from tests.support.carrying import PARTITIONS, Carrier, Order, id_in, load_all
from tests.support.grounds import read
from tests.support.store import RealStore

ANNA, BERT = id_in(1), id_in(0)
TABLE = id_in(3)
HOUSE = house_of(3)
START = 100_000
MOST_HELD = 20
ROUNDS, CONFLICTS, MOST_ROUNDS = 30, 5, 2_000


class Tally:
    """What one side was told that it did to Anna's chips, by kind."""

    def __init__(self, worker: Carrier, rng: Random) -> None:
        self.worker = worker
        self.chips: Counter[str] = Counter()
        self.refused = 0
        self.rng = rng

    def do(self, kind: str, *order: Order) -> bool:
        """Carry out, and note the chips where it is not refused."""
        (answer,) = self.worker.carry_out(*order)
        assert answer.outcome in (Outcome.OK, Outcome.NOT_ON_TABLE)
        self.refused += not answer.ok
        self.chips[kind] += answer.amount if answer.ok else 0
        return answer.ok


class Cashier(Tally):
    """The owner of Anna's account: holds chips, brings them to the table, and takes some away again."""

    held = 0

    def play(self, number: int) -> None:
        reserve = Reserve(account_id=ANNA, table_id=TABLE, amount=30, timeout_seconds=3_600)
        hold, again = self.worker.carry_out((reserve, f"r{number}"), (reserve, f"r{number}"))
        assert hold.ok
        assert again.reservation_id == hold.reservation_id
        if self.held < MOST_HELD and self.rng.random() < 0.3:
            self.held += 1
        elif self.rng.random() < 0.3:
            self.worker.carry_out((Release(reservation_id=hold.reservation_id), ""))
        else:
            commit: Order = (Commit(reservation_id=hold.reservation_id), "")
            one, other = (self.worker.carry_out(commit)[0] for _ in range(2))
            assert one.transaction_id == other.transaction_id
            self.chips["bought"] += 30
        cash_out = CashOut(account_id=ANNA, table_id=TABLE, amount=self.rng.randint(1, 20))
        self.do("left", (cash_out, f"c{number}"))


class Dealer(Tally):
    """The owner of the table: each hand is won by Anna, shared, or cancelled."""

    hands_won = 0

    def play(self, number: int) -> None:
        hand_id = f"h{number}"
        if self.do("bet", self._bet(hand_id, 1, ANNA)):
            self.worker.carry_out(self._bet(hand_id, 2, BERT))
            if self.rng.random() < 0.2:
                self.worker.carry_out((CancelPot(table_id=TABLE, hand_id=hand_id), ""))
                self.chips["back"] += 12
            else:
                self._settle(hand_id, *self.rng.choice([(24, 0), (12, 12), (1, 23)]))

    def _bet(self, hand_id: str, seat_id: int, account_id: str) -> Order:
        bet = RecordContribution(
            table_id=TABLE, hand_id=hand_id, seat_id=seat_id, account_id=account_id, amount=12
        )
        return bet, f"{hand_id}-{seat_id}"

    def _settle(self, hand_id: str, *won: int) -> None:
        winners = [
            Winner(seat_id=seat_id, account_id=account_id, amount=amount)
            for seat_id, account_id, amount in zip((1, 2), (ANNA, BERT), won, strict=True)
            if amount
        ]
        place = self.rng.choice((TO_ACCOUNT, TO_TABLE))
        settle = SettlePot(table_id=TABLE, hand_id=hand_id, winners=tuple(winners), payout_to=place)
        answers = [self.worker.carry_out((settle, key))[0] for key in (hand_id, hand_id, f"{hand_id}-again")]
        assert len({each.results for each in answers}) == 1
        results = answers[0].results
        self.chips["rake"] += 24 - sum(each.amount for each in results)
        self.chips[place] += results[0].amount
        self.hands_won += place == TO_ACCOUNT and results[0].amount > 0


@pytest.mark.parametrize("enforce", [False, True], ids=["observe", "enforce"])
def test_two_owners_of_one_players_chips_do_not_lose_or_pay_one_twice(
    real_store: RealStore, enforce: bool
) -> None:
    """
    Given the owner of an account, and the owner of the table that its player sits at
    If the account is held, bought in and cashed out by one while it bets and wins at the other's
    Expect every chip where both were told it is. A run without conflicts would prove nothing.
    """
    seed = secrets.randbits(32)
    policy = Policy(partitions=PARTITIONS, enforce_table_bank=enforce)
    doorman = Carrier(real_store.backend(), "doorman", policy=policy)
    _sit_down(doorman)
    doorman.leave()
    cashier, dealer = (
        Carrier(real_store.backend(), name, policy=policy, partitions=own)
        for name, own in (("cashier", (0, 1)), ("dealer", (2, 3)))
    )
    at_cage, at_table = Cashier(cashier, Random(seed)), Dealer(dealer, Random(seed + 1))
    _race(at_cage, at_table)
    sys.stdout.write(
        f"seed {seed}: conflicts {cashier.conflicts} and {dealer.conflicts}, "
        f"refused {at_cage.refused} and {at_table.refused}, {at_cage.chips}, {at_table.chips}\n"
    )

    told = at_cage.chips + at_table.chips
    state = load_all(cashier.store, accounts=[ANNA, HOUSE], seats=[(TABLE, ANNA)])
    account, house = state.accounts[ANNA], state.accounts[HOUSE]
    assert account is not None
    assert account.balance == START - told["bought"] + told["left"] + told[TO_ACCOUNT]
    assert account.reserved == 30 * at_cage.held
    assert len(state.holds[ANNA]) == at_cage.held
    in_play = told["bought"] - told["left"] - told["bet"] + told["back"] + told[TO_TABLE]
    assert state.in_play == {(TABLE, ANNA): in_play}
    assert in_play >= 0 or not enforce
    assert house is not None
    assert house.balance == told["rake"] > 0
    (wins,) = read(real_store.backend(), ("LLEN", keys.transactions_of(1, ANNA, TransactionType.POT_WIN)))
    assert wins == at_table.hands_won > 0
    report = Auditor(real_store.backend(), PARTITIONS).run()
    assert report.findings == []
    assert report.supply.in_pots == 0


def _sit_down(doorman: Carrier) -> None:
    """Anna has an account full of chips, Bert has brought all of his."""
    doorman.carry_out((Deposit(account_id=ANNA, amount=START), "d"))
    _, held = doorman.carry_out(
        (Deposit(account_id=BERT, amount=START), "d"),
        (Reserve(account_id=BERT, table_id=TABLE, amount=START), "r"),
    )
    doorman.carry_out((Commit(reservation_id=held.reservation_id), ""))


def _race(*sides: Cashier | Dealer) -> None:
    """Both play, each in a thread, until both have met enough conflicts."""
    failures: list[BaseException] = []

    def enough() -> bool:
        return bool(failures) or all(side.worker.conflicts >= CONFLICTS for side in sides)

    def play(side: Cashier | Dealer) -> Callable[[], None]:
        def run() -> None:
            try:
                for number in count():
                    if number >= ROUNDS and (enough() or number >= MOST_ROUNDS):
                        return
                    side.play(number)
            except BaseException as failure:
                failures.append(failure)

        return run

    threads = [threading.Thread(target=play(side)) for side in sides]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    assert enough(), "nobody was in anybody's way"
