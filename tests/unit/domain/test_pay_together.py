"""Payouts that are paid together: every rule of a payout for each, and none without all."""

from msgspec.structs import replace

from app.domain.accounts import FROZEN
from app.domain.amounts import MAX_CHIPS
from app.domain.commands import Part, Payout, PayTogether
from app.domain.decide import decide
from app.domain.outcomes import Outcome
from app.domain.records import RefusalRecord
from app.domain.requests import Request
from app.domain.state import Decision, State
from tests.support.domain import NOW, PARTITION, POLICY, account, empty_state

LINES = (
    Part(line=1, key="b#1", account_id="alice", amount=5),
    Part(line=2, key="b#2", account_id="bert", amount=6, type="BONUS", reason="race"),
    Part(line=3, key="b#3", account_id="alice", amount=7),
)


def request_of(*parts: Part) -> Request:
    command = PayTogether(batch_id="b", parts=parts)
    return Request(command, partition=PARTITION, command_id="b", arrived_at=NOW)


def pay(state: State, *parts: Part) -> Decision:
    return decide(state, request_of(*parts), NOW, POLICY)


def with_alice(balance: int = 100, status: str = "ACTIVE") -> State:
    state = empty_state()
    state.accounts["alice"] = account("alice", balance, status=status)
    return state


def test_all_are_paid_in_their_order() -> None:
    """Accounts are opened where needed; each posting is a payout with its own key and command."""
    decision = pay(with_alice(), *LINES)
    assert (decision.answer.ok, decision.answer.amount, decision.answer.replayed) == (True, 18, False)
    after = {effect.account.account_id: effect for effect in decision.accounts}
    assert {name: effect.account.balance for name, effect in after.items()} == {"alice": 112, "bert": 6}
    assert after["bert"].account.created_by == "Payout"
    entries = [posting.entry for effect in after.values() for posting in effect.postings]
    assert [(entry.amount, entry.idempotency_key, entry.command_id) for entry in entries] == [
        (5, "b#1", "b#1"),
        (7, "b#3", "b#3"),
        (6, "b#2", "b#2"),
    ]
    assert (entries[2].type, entries[2].metadata.reason) == ("BONUS", "race")


def test_each_is_the_payout_that_it_would_be_alone() -> None:
    """The same record under the same id: sent apart later, it is a repetition."""
    part = LINES[1]
    alone = Request(part.payout, partition=PARTITION, key=part.key, arrived_at=NOW)
    state = empty_state()
    state.apply(pay(state, *LINES), request_of(*LINES))
    again = decide(state, alone, NOW, POLICY)
    assert again.answer.replayed
    assert again.answer.transaction_id == alone.record_id
    other = Request(replace(part.payout, amount=1), partition=PARTITION, key=part.key, arrived_at=NOW)
    assert decide(state, other, NOW, POLICY).answer.outcome is Outcome.IDEMPOTENCY_KEY_REUSED


def test_what_is_paid_already_is_not_paid_again() -> None:
    """Those of before, and all of it the second time."""
    state = empty_state()
    state.apply(pay(state, LINES[0]), request_of(LINES[0]))
    rest = pay(state, *LINES)
    assert rest.answer.amount == 13
    state.apply(rest, request_of(*LINES))
    again = pay(state, *LINES)
    assert (again.answer.amount, again.answer.replayed, again.accounts) == (0, True, ())


def test_nothing_is_paid_when_one_cannot_be() -> None:
    """The line is named."""
    frozen = with_alice(status=FROZEN)
    full = with_alice(MAX_CHIPS - 5)
    refused = with_alice()
    part = Request(LINES[2].payout, partition=PARTITION, key="b#3")
    refused.refusals[part.refusal_key] = RefusalRecord(
        fingerprint=part.fingerprint,
        answer=replace(decide(full, request_of(*LINES), NOW, POLICY).answer, outcome=Outcome.INVALID_AMOUNT),
    )
    for state, outcome, line in (
        (frozen, Outcome.ACCOUNT_FROZEN, "1"),
        (full, Outcome.INVALID_AMOUNT, "3"),
        (refused, Outcome.INVALID_AMOUNT, "3"),
    ):
        decision = pay(state, *LINES)
        assert (decision.answer.outcome, decision.answer.detail) == (outcome, line)
        assert (decision.accounts, decision.refusal) == ((), None)


def test_a_parked_part_keeps_all_waiting() -> None:
    """Its key is held until ops have seen to it; the answer names its dead letter."""
    state = with_alice()
    part = Request(Payout(account_id="alice", amount=7), partition=PARTITION, key="b#3")
    answer = pay(with_alice(status=FROZEN), *LINES).answer
    parked = replace(answer, outcome=Outcome.DEAD_LETTERED, detail="003-b-1-0")
    state.refusals[part.refusal_key] = RefusalRecord(fingerprint=part.fingerprint, answer=parked)
    decision = pay(state, *LINES)
    assert (decision.answer.outcome, decision.answer.detail) == (Outcome.DEAD_LETTERED, "003-b-1-0")
