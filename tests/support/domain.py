"""The domain without its store: states as if loaded, and what a decision changes, told as a reader would."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
import pytest

from app.domain.accounts import ACTIVE, Account, open_account
from app.domain.commands import Command, TableCommand
from app.domain.decide import _RULES, decide
from app.domain.ledger import checksum
from app.domain.outcomes import Answer
from app.domain.policy import Policy
from app.domain.pots import Pot
from app.domain.requests import Request
from app.domain.reservations import COMMITTED, EXPIRED, HELD, RELEASED, Hold, Reservation
from app.domain.rules.case import Case
from app.domain.state import AccountEffect, Decision, State

NOW = 1_700_000_000_000
PARTITION = 3
POLICY = Policy()
ENFORCE = Policy(enforce_table_bank=True)

K = TypeVar("K")
V = TypeVar("V")


class Known(dict[K, V | None]):
    """Records of a state that has loaded everything: what is not there is known to be absent."""

    def __missing__(self, key: K) -> None:
        return None


def empty_state() -> State:
    """A state in which nothing exists, and everything is known."""
    return State(
        accounts=Known(),
        reservations=Known(),
        transactions=Known(),
        refusals=Known(),
        pots=Known(),
        answers=Known(),
    )


def account(account_id: str = "alice", balance: int = 100, *, status: str = ACTIVE) -> Account:
    """An account as three balance changes left it some seconds ago."""
    return Account(
        account_id=account_id,
        balance=balance,
        reserved=0,
        currency="CHIPS",
        version=3,
        revision=5,
        seq=3,
        checksum="c0ffee" * 10 + "beef",
        status=status,
        created_by="EnsureAccount",
        created_at=NOW - 9_000,
        updated_at=NOW - 9_000,
    )


def reservation(
    reservation_id: str = "r1", amount: int = 30, *, status: str = HELD, left_ms: int = 10_000
) -> Reservation:
    """A reservation of alice's for table t1; `left_ms` until its time is over, 0 when that is just now."""
    committed = status == COMMITTED
    return Reservation(
        reservation_id=reservation_id,
        account_id="alice",
        table_id="t1",
        amount=amount,
        status=status,
        created_at=NOW - 20_000,
        expires_at=NOW + left_ms,
        fingerprint="f" * 64,
        available_balance=70,
        committed_at=NOW - 5_000 if committed else 0,
        released_at=NOW - 5_000 if status in (RELEASED, EXPIRED) else 0,
        transaction_id=f"of-{reservation_id}" if committed else "",
        new_balance=70 if committed else 0,
    )


def state_of(
    records: Iterable[Account | Reservation | Pot], in_play: dict[tuple[str, str], int] | None = None
) -> State:
    """A state that holds these records; what accounts have reserved follows from the reservations."""
    state = empty_state()
    state.in_play = dict(in_play or {})
    for record in records:
        if isinstance(record, Account):
            state.accounts[record.account_id] = record
            continue
        if isinstance(record, Pot):
            state.pots[record.key] = record
            continue
        state.reservations[record.reservation_id] = record
        owner = state.accounts[record.account_id]
        if record.status == HELD and owner is not None:
            holds = state.holds.setdefault(owner.account_id, {})
            holds[record.reservation_id] = Hold(record.amount, record.expires_at)
            reserved = owner.reserved + record.amount
            state.accounts[owner.account_id] = msgspec.structs.replace(owner, reserved=reserved)
    return state


def request_of(
    command: Command, key: str | None = None, *, arrived_at: int = NOW, deadline_at: int = 0
) -> Request:
    """The command on its way, under key `k` where it takes one."""
    if key is None:
        key = "k" if command.keyed else ""
    return Request(
        command,
        partition=PARTITION,
        key=key,
        command_id="c-1",
        arrived_at=arrived_at,
        deadline_at=deadline_at,
    )


@dataclass(frozen=True, kw_only=True)
class Effect:
    """All that a decision changes. Chips and versions are differences; what is left out stays as it was.

    `entry` is the ledger entry's type and metadata, `ends` the reservations with their new status, `in_play`
    chips by table, `sticks` that the refusal is kept under its key.
    """

    opened: bool = False
    balance: int = 0
    reserved: int = 0
    version: int = 0
    entry: tuple[str, Mapping[str, object]] | None = None
    reservations: Mapping[str, str] = field(default_factory=dict)
    in_play: Mapping[str, int] = field(default_factory=dict)
    sticks: bool = False


NOTHING = Effect()
STICKS = Effect(sticks=True)


def effect_of(state: State, decision: Decision) -> Effect:
    """What a decision on this state changes."""
    assert len(decision.accounts) <= 1
    on_account = decision.accounts[0] if decision.accounts else None
    posting = on_account.postings[0] if on_account and on_account.postings else None
    entry = (posting.entry.type.value, msgspec.to_builtins(posting.entry.metadata)) if posting else None
    after = on_account.account if on_account else None
    before = state.accounts[after.account_id] if after else None
    base = before or (open_account(after.account_id, after.created_by, NOW) if after else None)
    return Effect(
        opened=after is not None and before is None,
        balance=after.balance - base.balance if after and base else 0,
        reserved=after.reserved - base.reserved if after and base else 0,
        version=after.version - base.version if after and base else 0,
        entry=entry,
        reservations={each.reservation_id: each.status for each in decision.reservations},
        in_play={change.table_id: change.amount for change in decision.tables},
        sticks=decision.refusal is not None,
    )


def check_decision(state: State, request: Request, decision: Decision, now: int = NOW) -> None:
    """What must hold of every decision, whatever the command."""
    answer = decision.answer
    if decision.refusal is not None:
        assert decision.refusal.answer == answer
        assert decision.refusal.fingerprint == request.fingerprint
    if not answer.ok:
        assert not any(effect.postings for effect in decision.accounts)
        assert (decision.tables, decision.pot, decision.record) == ((), None, None)
    if decision.record is not None:
        assert decision.record.answer == msgspec.structs.replace(answer, replayed=False)
        assert decision.record.fingerprint == request.fingerprint
    transaction_ids = []
    for effect in decision.accounts:
        check_account(state, request, effect, now)
        transaction_ids += [posting.entry.transaction_id for posting in effect.postings]
    if isinstance(request.command, TableCommand):
        assert len(set(transaction_ids)) == len(transaction_ids)
    elif transaction_ids:
        assert transaction_ids == [request.record_id] == [answer.transaction_id]


def check_account(state: State, request: Request, effect: AccountEffect, now: int) -> None:
    """An account goes on from what it was, and its chain with it, link by link."""
    after = effect.account
    before = state.accounts[after.account_id] or open_account(after.account_id, request.command.kind, now)
    assert (after.currency, after.created_by) == (before.currency, before.created_by)
    assert (after.created_at, after.status) == (before.created_at, before.status)
    assert after.revision == before.revision, "revisions are the store's business"
    assert after.updated_at == now
    head, balance = before.checksum, before.balance
    for posting in effect.postings:
        entry = posting.entry
        assert (entry.previous_checksum, entry.balance_before) == (head, balance)
        assert entry.balance_after == balance + entry.amount
        head, _, text = posting.element.partition(" ")
        assert checksum(text.encode()) == head
        balance = entry.balance_after
        assert (entry.account_id, entry.timestamp) == (after.account_id, now)
        assert (entry.idempotency_key or "", entry.command_id) == (request.key, request.command_id)
        assert (entry.entry_id, entry.v) == (f"{after.account_id}|{entry.seq}", 1)
    assert (after.balance, after.checksum) == (balance, head)
    if effect.postings:
        assert entry.seq == after.seq == after.version
    else:
        assert after.seq == before.seq


@dataclass(frozen=True)
class Row:
    """One line of a rule's table: on these records, this command is answered so and changes this.

    Times are relative to NOW. The answer of a balance change is given without its transaction id, and that
    of a new reservation without the reservation's: these are derived, and compared with the request's.
    """

    says: str
    given: tuple[Account | Reservation, ...]
    command: Command
    answer: Answer
    effect: Effect = NOTHING
    policy: Policy = POLICY
    in_play: int | None = None

    def __str__(self) -> str:
        return self.says.replace(" ", "-")

    @property
    def state(self) -> State:
        seat = ("t1", "alice")
        return state_of(self.given, None if self.in_play is None else {seat: self.in_play})

    def check(self) -> None:
        """The row holds, and deciding has changed nothing by itself."""
        state, request = self.state, request_of(self.command)
        decision = decide(state, request, NOW, self.policy)
        check_decision(state, request, decision)
        assert state == self.state
        assert without_derived_ids(decision.answer, request) == self.answer
        assert effect_of(state, decision) == self.effect


def without_derived_ids(answer: Answer, request: Request) -> Answer:
    """The answer without the id of what the request itself has made."""
    return msgspec.structs.replace(
        answer,
        transaction_id="" if answer.transaction_id == request.record_id else answer.transaction_id,
        reservation_id="" if answer.reservation_id == request.record_id else answer.reservation_id,
    )


def do(state: State, request: Request, now: int = NOW, policy: Policy = POLICY) -> Answer:
    """Decide and apply: the state goes on from here."""
    decision = decide(state, request, now, policy)
    check_decision(state, request, decision, now)
    state.apply(decision, request)
    return decision.answer


def replace_rule(
    monkeypatch: pytest.MonkeyPatch, kind: type[Command], rule: Callable[[Case, Any], Decision]
) -> Callable[[Case, Any], Decision]:
    """Let another rule decide this kind of command, as a fault in our code would; the rule it replaces."""
    replaced = _RULES[kind]
    monkeypatch.setitem(_RULES, kind, rule)
    return replaced
