"""Random hands at a few tables, held against a naive model: no chip is made, lost, or paid twice."""

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from app.domain.accounts import ACTIVE, FROZEN
from app.domain.commands import CancelPot, RecordContribution, SettlePot, Winner
from app.domain.decide import decide
from app.domain.outcomes import Answer, Outcome
from app.domain.policy import Policy
from app.domain.settlement import side_pots
from tests.support.domain import NOW, account, check_decision, request_of, state_of
from tests.support.pots import HOUSE
from tests.unit.domain.pot_model import MOST, PotModel

PLAYERS = {"alice": 100, "bob": 7, "rich": MOST - 60}
TABLES = ("t1", "t2")
HANDS = ("h1", "h2", "h3", "h4")
table_ids = st.sampled_from(["t1", "t1", "t1", "t2"])
hand_ids = st.sampled_from(HANDS)
seats = st.integers(0, 3)
account_ids = st.sampled_from([*PLAYERS, "nobody"])
amounts = st.integers(1, 40) | st.sampled_from([10, 10, 20, MOST])
deep_bets = st.sampled_from([5, 10, 10, 25])
folded_seats = st.sampled_from([(), (1,), (0, 2)])
keys = st.sampled_from(["new", "new", "new", "new", "k1", "k2"])

PotCommand = RecordContribution | SettlePot | CancelPot


class Hands(RuleBasedStateMachine):
    """Any command at any time; after each step the state is what the model says."""

    @initialize(enforce=st.booleans())
    def begin(self, *, enforce: bool) -> None:
        self.policy = Policy(enforce_table_bank=enforce)
        self.model = PotModel(enforce=enforce, balances=dict(PLAYERS))
        self.model.in_play.update({(table, who): 100 for table in TABLES for who in PLAYERS})
        in_play = {(table, who): 0 for table in TABLES for who in (*PLAYERS, "nobody")}
        self.state = state_of([account(*each) for each in PLAYERS.items()], in_play | self.model.in_play)
        self.sent = 0
        self.told: dict[tuple[str, str, str], tuple[PotCommand, Answer]] = {}
        self.chips = self.model.chips()

    def do(self, command: PotCommand, key: str = "") -> None:
        """Have a command decided, and its outcome compared with the model's."""
        self.sent += 1
        key = f"key {self.sent}" if key == "new" else key
        request = request_of(command, key)
        before = self.state.pots.get(command.pot_key)
        decision = decide(self.state, request, NOW, self.policy)
        check_decision(self.state, request, decision)
        answer = decision.answer
        place = (command.kind, command.table_id, key)
        if key and place in self.told:
            content, first = self.told[place]
            expected = replace(first, replayed=True)
            reused = Answer(outcome=Outcome.IDEMPOTENCY_KEY_REUSED)
            assert answer == (expected if content == command else reused)
            assert (decision.accounts, decision.tables, decision.pot) == ((), (), None)
            return
        assert answer.outcome == self.model.take(command)
        if not answer.ok:
            assert (decision.accounts, decision.tables, decision.pot) == ((), (), None)
        self.state.apply(decision, request)
        if key and (answer.ok or decision.refusal):
            self.told[place] = (command, replace(answer, replayed=False))
        after = self.state.pots.get(command.pot_key)
        if before is not None and after is not before:
            assert after
            assert after.entries[: len(before.entries)] == before.entries
            assert (after.pot_id, after.version) == (before.pot_id, before.version + 1)

    @rule(table=table_ids, hand=hand_ids, seat=seats, who=account_ids, amount=amounts, key=keys)
    def contribute(self, table: str, hand: str, seat: int, who: str, amount: int, key: str) -> None:
        command = RecordContribution(
            table_id=table, hand_id=hand, seat_id=seat, account_id=who, amount=amount
        )
        self.do(command, key)

    @rule(table=table_ids, hand=hand_ids, bets=st.lists(st.sampled_from([0, 5, 10, 25]), max_size=4))
    def go_round(self, table: str, hand: str, bets: list[int]) -> None:
        for seat, amount in enumerate(bets):
            who = list(PLAYERS)[seat % len(PLAYERS)]
            if amount:
                self.contribute(table, hand, seat, who, amount, "new")

    @precondition(lambda self: self.told)
    @rule(pick=st.integers(0, 99))
    def repeat(self, pick: int) -> None:
        (_, _, key), (command, _) = list(self.told.items())[pick % len(self.told)]
        self.do(command, key)

    @rule(data=st.data(), table=table_ids, hand=hand_ids, bets=st.lists(deep_bets, min_size=2, max_size=4))
    def play_a_hand(self, data: st.DataObject, table: str, hand: str, bets: list[int]) -> None:
        self.go_round(table, hand, bets)
        if (table, hand) in self.model.pots:
            self.settle(data, (table, hand), "new", slip=0, folded=())

    @precondition(lambda self: self.model.pots)
    @rule(data=st.data(), key=keys, slip=st.integers(-1, 1), folded=folded_seats)
    def settle_with_a_slip(self, data: st.DataObject, key: str, slip: int, folded: tuple[int, ...]) -> None:
        self.settle(data, data.draw(st.sampled_from(list(self.model.pots))), key, slip=slip, folded=folded)

    def settle(
        self, data: st.DataObject, where: tuple[str, str], key: str, *, slip: int, folded: tuple[int, ...]
    ) -> None:
        """Pay the side pots to some of those who are in them; gross or less rake."""
        pot = self.model.pots[where]
        won: Counter[int] = Counter()
        for side_pot in side_pots(pot.put_in):
            winners = data.draw(st.lists(st.sampled_from(side_pot.seats), min_size=1, max_size=2))
            won[winners[0]] += side_pot.amount // 2
            won[winners[-1]] += side_pot.amount - side_pot.amount // 2
        won[max(won, key=lambda seat: won[seat])] -= slip + data.draw(st.sampled_from([0, pot.rake]))
        paid = tuple(
            Winner(seat_id=seat, account_id=pot.accounts[seat], amount=amount)
            for seat, amount in won.items()
            if amount > 0
        )
        to = data.draw(st.sampled_from(["ACCOUNT", "TABLE"]))
        command = SettlePot(
            table_id=where[0], hand_id=where[1], winners=paid, payout_to=to, folded_seat_ids=folded
        )
        self.do(command, key)

    @rule(table=table_ids, hand=hand_ids, seat=seats, who=account_ids, amount=amounts, key=keys)
    def settle_anyhow(self, table: str, hand: str, seat: int, who: str, amount: int, key: str) -> None:
        winner = Winner(seat_id=seat, account_id=who, amount=amount)
        self.do(SettlePot(table_id=table, hand_id=hand, winners=(winner,)), key)

    @rule(table=table_ids, hand=hand_ids)
    def cancel(self, table: str, hand: str) -> None:
        self.do(CancelPot(table_id=table, hand_id=hand))

    @rule()
    def ended_pots_are_forgotten(self) -> None:
        for hand in [hand for hand, pot in self.model.pots.items() if pot.status != "ACTIVE"]:
            del self.model.pots[hand]
            del self.state.pots[hand]

    @rule(who=st.sampled_from(list(PLAYERS)), freeze=st.integers(0, 9).map(lambda dice: dice == 9))
    def freeze_or_thaw(self, who: str, *, freeze: bool) -> None:
        (self.model.frozen.add if freeze else self.model.frozen.discard)(who)
        before = self.state.accounts[who]
        assert before
        self.state.accounts[who] = replace(before, status=FROZEN if freeze else ACTIVE)

    @invariant()
    def everything_is_as_the_model_says(self) -> None:
        balances = {each.account_id: each.balance for each in self.state.accounts.values() if each}
        assert balances.pop(HOUSE, 0) == self.model.house
        assert balances == self.model.balances
        assert Counter(self.state.in_play) == self.model.in_play
        for hand, pot in self.model.pots.items():
            record = self.state.pots[hand]
            assert record
            assert (record.status, record.total, record.by_seat()) == (pot.status, pot.total, pot.put_in)
            assert [(each.seat_id, each.account_id, each.amount) for each in record.results] == pot.results

    @invariant()
    def chips_are_conserved(self) -> None:
        in_pots = sum(pot.chips for pot in self.state.pots.values() if pot)
        balances = sum(each.balance for each in self.state.accounts.values() if each)
        assert balances + sum(self.state.in_play.values()) + in_pots == self.chips == self.model.chips()


TestRandomPots = Hands.TestCase
TestRandomPots.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
