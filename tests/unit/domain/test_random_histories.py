"""Random histories of a few accounts, held against a naive model: no chip is made, lost, or spent twice."""

import json
from hashlib import sha256

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from app.domain.accounts import ACTIVE, FROZEN
from app.domain.commands import (
    CashOut,
    Command,
    Commit,
    Deposit,
    EnsureAccount,
    ExpireReservation,
    Payout,
    Release,
    Reserve,
    Withdraw,
)
from app.domain.decide import decide
from app.domain.outcomes import Answer, Outcome
from app.domain.policy import Policy
from tests.support.domain import NOW, Effect, check_decision, effect_of, empty_state, request_of
from tests.unit.domain.model import MOST, Model

ACCOUNTS = ("alice", "bob")
TABLES = ("t1", "t2")
account_ids = st.sampled_from(ACCOUNTS)
table_ids = st.sampled_from(TABLES)
keys = st.sampled_from(["k1", "k2", "k3", "k4", "k5"])
amounts = st.integers(1, 60) | st.sampled_from([1, 100, MOST - 100, MOST])
seconds = st.sampled_from([0, 1, 5])


class Histories(RuleBasedStateMachine):
    """Any command at any time; after each step the state is what the model says."""

    @initialize(enforce=st.booleans())
    def begin(self, *, enforce: bool) -> None:
        self.model = Model(now=NOW, enforce=enforce)
        self.policy = Policy(enforce_table_bank=enforce)
        self.state = empty_state()
        self.state.in_play = {(table, account): 0 for table in TABLES for account in ACCOUNTS}
        self.elements: dict[str, list[str]] = {account_id: [] for account_id in ACCOUNTS}

    def do(self, command: Command, key: str = "", *, age_ms: int = 0, late: bool = False) -> None:
        """Have a command decided, and its outcome compared with the model's."""
        model, state, now = self.model, self.state, self.model.now
        deadline_at = now - 1 if late else 0
        request = request_of(command, key, arrived_at=now - age_ms, deadline_at=deadline_at)
        decision = decide(state, request, now, self.policy)
        check_decision(state, request, decision, now)
        answer, effect = decision.answer, effect_of(state, decision)
        place = (command.kind, request.aggregate_id, key)
        if key and place in model.told:
            content, first = model.told[place]
            if content == command:
                assert answer == replace(first, replayed=True)
            else:
                assert answer == Answer(outcome=Outcome.IDEMPOTENCY_KEY_REUSED)
            assert effect == Effect()
            return
        if age_ms > self.policy.refusal_ttl_ms or late:
            assert answer.outcome in {Outcome.EXPIRED, Outcome.DROPPED}
            assert effect == Effect()
            return
        assert answer.outcome == model.take(command, request.record_id)
        state.apply(decision, request)
        for effect_on in decision.accounts:
            elements = (posting.element for posting in effect_on.postings)
            self.elements[effect_on.account.account_id].extend(elements)
        if not answer.ok:
            assert effect.balance == effect.version == 0
            assert set(effect.reservations.values()) <= {"EXPIRED"}
        if answer.ok or effect.sticks:
            model.told[place] = (command, answer)

    @rule(milliseconds=st.sampled_from([0, 1, 999, 1000, 4000, 30_000]))
    def time_passes(self, milliseconds: int) -> None:
        self.model.now += milliseconds

    @rule(account_id=account_ids, initial=st.just(0) | amounts)
    def ensure_account(self, account_id: str, initial: int) -> None:
        self.do(EnsureAccount(account_id=account_id, initial_balance=initial))

    @rule(account_id=account_ids, amount=amounts, source=st.sampled_from(["", "BONUS"]), key=keys)
    def deposit(self, account_id: str, amount: int, source: str, key: str) -> None:
        self.do(Deposit(account_id=account_id, amount=amount, source=source), key)

    @rule(account_id=account_ids, amount=amounts, key=keys)
    def pay_out(self, account_id: str, amount: int, key: str) -> None:
        self.do(Payout(account_id=account_id, amount=amount), key)

    @rule(account_id=account_ids, amount=amounts, key=keys)
    def withdraw(self, account_id: str, amount: int, key: str) -> None:
        self.do(Withdraw(account_id=account_id, amount=amount), key)

    @rule(account_id=account_ids, amount=amounts, key=keys, age_ms=st.sampled_from([0, 86_400_001]))
    def withdraw_too_late(self, account_id: str, amount: int, key: str, age_ms: int) -> None:
        self.do(Withdraw(account_id=account_id, amount=amount), key, age_ms=age_ms, late=True)

    @rule(account_id=account_ids, table_id=table_ids, amount=amounts, key=keys)
    def cash_out(self, account_id: str, table_id: str, amount: int, key: str) -> None:
        self.do(CashOut(account_id=account_id, table_id=table_id, amount=amount), key)

    @rule(account_id=account_ids, table_id=table_ids, amount=amounts, timeout=seconds, key=keys)
    def reserve(self, account_id: str, table_id: str, amount: int, timeout: int, key: str) -> None:
        command = Reserve(account_id=account_id, table_id=table_id, amount=amount, timeout_seconds=timeout)
        self.do(command, key)

    @precondition(lambda self: self.model.holds)
    @rule(pick=st.integers(0, 9), end=st.sampled_from([Commit, Commit, Release, ExpireReservation]))
    def end_reservation(self, pick: int, end: type[Commit | Release | ExpireReservation]) -> None:
        reservation_id, hold = list(self.model.holds.items())[pick % len(self.model.holds)]
        # Whether a past hold of a frozen account has been written EXPIRED, callers cannot know.
        if end is not ExpireReservation or hold.account_id not in self.model.frozen:
            self.do(end(reservation_id=reservation_id))

    @rule(end=st.sampled_from([Commit, Release, ExpireReservation]))
    def end_what_never_was(self, end: type[Commit | Release | ExpireReservation]) -> None:
        self.do(end(reservation_id="003-" + "a" * 26))

    @rule(account_id=account_ids, freeze=st.sampled_from([True, False, False, False]))
    def freeze_or_thaw(self, account_id: str, *, freeze: bool) -> None:
        account = self.state.accounts[account_id]
        if account is not None:
            (self.model.frozen.add if freeze else self.model.frozen.discard)(account_id)
            self.state.accounts[account_id] = replace(account, status=FROZEN if freeze else ACTIVE)

    @invariant()
    def accounts_are_as_the_model_says(self) -> None:
        for account_id in ACCOUNTS:
            account = self.state.accounts[account_id]
            if account is None:
                assert account_id not in self.model.balances
                continue
            assert account.balance == self.model.balances[account_id] >= 0
            assert account.version == self.model.versions[account_id]
            assert self.model.available(account_id) >= 0

    @invariant()
    def what_is_reserved_is_the_sum_of_the_holds(self) -> None:
        for account_id in ACCOUNTS:
            held = {
                reservation_id: record.amount
                for reservation_id, record in self.state.reservations.items()
                if record and record.account_id == account_id and record.status == "HELD"
            }
            account = self.state.accounts[account_id]
            assert sum(held.values()) == (account.reserved if account else 0)
            assert held.keys() == self.state.holds.get(account_id, {}).keys()

    @invariant()
    def chips_are_conserved(self) -> None:
        assert self.state.in_play == {**dict.fromkeys(self.state.in_play, 0), **self.model.in_play}
        balances = sum(account.balance for account in self.state.accounts.values() if account)
        assert balances + sum(self.state.in_play.values()) == self.model.supply

    @invariant()
    def chains_are_intact(self) -> None:
        for account_id, elements in self.elements.items():
            previous, balance = "GENESIS", 0
            for element in elements:
                checksum, _, text = element.partition(" ")
                entry = json.loads(text)
                assert checksum == sha256(text.encode()).hexdigest()
                assert (entry["previousChecksum"], entry["balanceBefore"]) == (previous, balance)
                assert entry["balanceAfter"] == balance + entry["amount"] >= 0
                previous, balance = checksum, entry["balanceAfter"]
            account = self.state.accounts[account_id]
            assert (account.checksum if account else "GENESIS") == previous
            assert (account.balance if account else 0) == balance


TestRandomHistories = Histories.TestCase
TestRandomHistories.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
