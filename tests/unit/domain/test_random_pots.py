"""Random hands at a few tables, held against a naive model: no chip is made, lost, or paid twice."""

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from app.domain.accounts import ACTIVE, FROZEN
from app.domain.commands import CancelPot, Command, RecordContribution, SettlePot, Winner
from app.domain.decide import decide
from app.domain.outcomes import Answer, Outcome
from app.domain.policy import Policy
from app.domain.settlement import side_pots
from tests.support.domain import NOW, account, check_decision, request_of, state_of
from tests.support.pots import HOUSE
from tests.unit.domain.pot_model import MOST, PotModel

PLAYERS = {"alice": 100, "bob": 7, "rich": MOST - 60}
TABLES = ("t1", "t2")
HANDS = ("h1", "h2")
table_ids = st.sampled_from(["t1", "t1", "t2"])
hand_ids = st.sampled_from(HANDS)
seats = st.integers(0, 3)
account_ids = st.sampled_from([*PLAYERS, "nobody"])
amounts = st.integers(1, 40) | st.sampled_from([10, 10, 20, MOST])
keys = st.integers(1, 400).map("key {}".format) | st.sampled_from(["k1", "k2", "k3"])


class Hands(RuleBasedStateMachine):
    """Any command at any time; after each step the state is what the model says."""

    @initialize(enforce=st.booleans())
    def begin(self, *, enforce: bool) -> None:
        self.policy = Policy(enforce_table_bank=enforce)
        self.model = PotModel(enforce=enforce, balances=dict(PLAYERS))
        self.model.in_play.update({(table, who): 100 for table in TABLES for who in PLAYERS})
        in_play = {(table, who): 0 for table in TABLES for who in (*PLAYERS, "nobody")}
        self.state = state_of([account(*each) for each in PLAYERS.items()], in_play | self.model.in_play)
        self.told: dict[tuple[str, str, str], tuple[Command, Answer]] = {}
        self.chips = self.model.chips()

    def do(self, command: RecordContribution | SettlePot | CancelPot, key: str = "") -> None:
        """Have a command decided, and its outcome compared with the model's."""
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
        if answer.ok or decision.refusal:
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

    @rule(table=table_ids, hand=hand_ids, seat=seats, amount=st.sampled_from([5, 10, 25]), key=keys)
    def sit_and_bet(self, table: str, hand: str, seat: int, amount: int, key: str) -> None:
        who = list(PLAYERS)[seat % len(PLAYERS)]
        self.contribute(table, hand, seat, who, amount, key)

    @rule(table=table_ids, hand=hand_ids, data=st.data(), key=keys)
    def settle_as_the_cards_fell(self, table: str, hand: str, data: st.DataObject, key: str) -> None:
        pot = self.model.pots.get((table, hand))
        if pot is None:
            return
        won: Counter[int] = Counter()
        for side_pot in side_pots(pot.put_in):
            winners = data.draw(st.lists(st.sampled_from(side_pot.seats), min_size=1, max_size=2))
            won[winners[0]] += side_pot.amount // 2
            won[winners[-1]] += side_pot.amount - side_pot.amount // 2
        slip = data.draw(st.sampled_from([0, 0, 0, 0, -1, 1, pot.rake, pot.rake]))
        most = max(won, key=lambda seat: won[seat])
        won[most] -= slip
        to = data.draw(st.sampled_from(["ACCOUNT", "TABLE"]))
        folded = data.draw(st.sampled_from([(), (), (1,), (0, 2)]))
        paid = tuple(
            Winner(seat_id=seat, account_id=pot.accounts[seat], amount=amount)
            for seat, amount in won.items()
            if amount > 0
        )
        command = SettlePot(table_id=table, hand_id=hand, winners=paid, payout_to=to, folded_seat_ids=folded)
        self.do(command, key)

    @rule(table=table_ids, hand=hand_ids, seat=seats, who=account_ids, amount=amounts, key=keys)
    def settle_anyhow(self, table: str, hand: str, seat: int, who: str, amount: int, key: str) -> None:
        winner = Winner(seat_id=seat, account_id=who, amount=amount)
        self.do(SettlePot(table_id=table, hand_id=hand, winners=(winner,)), key)

    @rule(table=table_ids, hand=hand_ids, sure=st.sampled_from([True, False, False]))
    def cancel(self, table: str, hand: str, *, sure: bool) -> None:
        if sure:
            self.do(CancelPot(table_id=table, hand_id=hand))

    @rule(table=table_ids, hand=hand_ids)
    def an_ended_pot_is_forgotten(self, table: str, hand: str) -> None:
        pot = self.model.pots.get((table, hand))
        if pot is not None and pot.status != "ACTIVE":
            del self.model.pots[table, hand]
            del self.state.pots[table, hand]

    @rule(who=st.sampled_from(list(PLAYERS)), freeze=st.sampled_from([True, False, False, False]))
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
TestRandomPots.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
