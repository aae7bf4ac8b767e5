"""Same key, same outcome: what was applied is answered again for ever, what was refused while it sticks."""

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from app.domain.accounts import ACTIVE, FROZEN
from app.domain.commands import CashOut, Command, Commit, Deposit, Payout, Release, Reserve, Withdraw
from app.domain.decide import decide
from app.domain.outcomes import Answer, Outcome
from app.domain.records import RefusalRecord
from app.domain.state import Decision, State
from tests.support.domain import (
    NOTHING,
    NOW,
    POLICY,
    Row,
    account,
    do,
    effect_of,
    empty_state,
    request_of,
    state_of,
)
from tests.unit.domain.test_account_rules import CASH_OUT, DEPOSIT, ENSURE_ACCOUNT, PAYOUT, WITHDRAW
from tests.unit.domain.test_reservation_rules import COMMITS, EXPIRIES, RELEASES, RESERVE

KEYED = [*DEPOSIT, *PAYOUT, *WITHDRAW, *CASH_OUT, *RESERVE]
KEYLESS = [*ENSURE_ACCOUNT, *COMMITS, *RELEASES, *EXPIRIES]
REMEMBERED = [row for row in KEYED if row.answer.ok or row.effect.sticks]
FORGOTTEN = [row for row in KEYED if row not in REMEMBERED]
REUSED = Decision(Answer(outcome=Outcome.IDEMPOTENCY_KEY_REUSED))
YEAR_MS = 365 * 86_400_000


def others(command: Command) -> Iterator[Command]:
    """The command with other content for the same account, one field at a time."""
    for name in command.__struct_fields__:
        value = getattr(command, name)
        if name == "type":
            yield replace(command, type="BONUS" if value != "BONUS" else "REFERRAL")
        elif name != "account_id":
            yield replace(command, **{name: value + 1 if isinstance(value, int) else f"{value}x"})


def freeze(state: State, status: str = FROZEN) -> None:
    alice = state.accounts["alice"]
    if alice is not None:
        state.accounts["alice"] = replace(alice, status=status)


@pytest.mark.parametrize("row", REMEMBERED, ids=str)
def test_a_repeated_command_gets_the_first_answer_and_changes_nothing(row: Row) -> None:
    """However late it comes, whatever has become of the account, and under a command id of its own."""
    # Given
    state = row.state
    first = do(state, request_of(row.command), policy=row.policy)
    freeze(state)
    # If
    again = request_of(row.command, arrived_at=NOW, deadline_at=NOW + 1)
    again.command_id = "c-2"
    decision = decide(state, again, NOW + YEAR_MS, row.policy)
    # Expect
    assert decision == Decision(replace(first, replayed=True))
    assert not first.replayed


@pytest.mark.parametrize("row", REMEMBERED, ids=str)
def test_the_same_key_with_other_content_is_refused_and_changes_nothing(row: Row) -> None:
    """Any field counts; and the first content still gets its answer afterwards."""
    state = row.state
    first = do(state, request_of(row.command), policy=row.policy)
    for other in others(row.command):
        assert decide(state, request_of(other), NOW, row.policy) == REUSED
    assert do(state, request_of(row.command)) == replace(first, replayed=True)


@pytest.mark.parametrize("row", FORGOTTEN, ids=str)
def test_a_refusal_that_is_not_the_callers_is_decided_anew(row: Row) -> None:
    """Nothing is kept under the key: with other content it may be tried as well."""
    state = row.state
    first = do(state, request_of(row.command), policy=row.policy)
    assert first.outcome in {Outcome.ACCOUNT_FROZEN, Outcome.HOLD_LIMIT}
    assert do(state, request_of(row.command), policy=row.policy) == first
    for other in others(row.command):
        assert decide(state, request_of(other), NOW, row.policy).answer.outcome is first.outcome


@pytest.mark.parametrize("row", KEYLESS, ids=str)
def test_a_command_without_a_key_answers_from_the_state_and_keeps_no_refusal(row: Row) -> None:
    """Repeating one that has changed something changes nothing more."""
    state = row.state
    first = do(state, request_of(row.command), policy=row.policy)
    decision = decide(state, request_of(row.command), NOW, row.policy)
    assert effect_of(state, decision) == NOTHING
    assert decision.answer.outcome is first.outcome
    assert decision.answer.transaction_id in ("", first.transaction_id)


def test_a_thawed_account_takes_the_command_it_refused() -> None:
    """ACCOUNT_FROZEN does not stick."""
    state, request = state_of([account(status=FROZEN)]), request_of(Withdraw(account_id="alice", amount=10))
    assert do(state, request).outcome is Outcome.ACCOUNT_FROZEN
    freeze(state, ACTIVE)
    assert do(state, request).ok


@pytest.mark.parametrize("amount", [10, 200])
def test_a_key_belongs_to_one_operation_on_one_account(amount: int) -> None:
    """Two players, or a player's deposit and withdrawal, can never meet in one key."""
    # Given
    state = state_of([account("alice"), account("bob")])
    key = "same key"
    commands: list[Command] = [
        command
        for account_id in ("alice", "bob")
        for command in (
            Withdraw(account_id=account_id, amount=amount),
            Deposit(account_id=account_id, amount=amount),
            Payout(account_id=account_id, amount=amount),
            CashOut(account_id=account_id, table_id="t1", amount=amount),
            Reserve(account_id=account_id, table_id="t1", amount=amount),
        )
    ]
    # If
    answers = [do(state, request_of(command, key)) for command in commands]
    # Expect
    assert {answer.outcome for answer in answers} <= {Outcome.OK, Outcome.INSUFFICIENT_BALANCE}
    assert not any(answer.replayed for answer in answers)
    ids = [answer.transaction_id or answer.reservation_id for answer in answers if answer.ok]
    assert len(set(ids)) == len(ids)


def park(state: State, command: Command) -> None:
    """As the service parks a command: its key is held without expiry."""
    request = request_of(command)
    answer = Answer(outcome=Outcome.DEAD_LETTERED, detail="003-i-1-0-0")
    state.refusals[request.refusal_key] = RefusalRecord(fingerprint=request.fingerprint, answer=answer)


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (10, Answer(outcome=Outcome.DEAD_LETTERED, detail="003-i-1-0-0", replayed=True)),
        (11, Answer(outcome=Outcome.IDEMPOTENCY_KEY_REUSED)),
    ],
    ids=["same content", "other content"],
)
def test_a_parked_key_gets_the_dead_letters_id(amount: int, expected: Answer) -> None:
    """However old the retry is: ops decide what becomes of the key, which stands for one content."""
    state = state_of([account()])
    park(state, Withdraw(account_id="alice", amount=10))
    retry = request_of(Withdraw(account_id="alice", amount=amount), deadline_at=NOW)
    decision = decide(state, retry, NOW + YEAR_MS, POLICY)
    assert decision == Decision(expected)


def test_what_was_applied_counts_before_what_was_parked() -> None:
    """A command may be parked by what happened after it: its permanent record is the stronger witness."""
    state = state_of([account()])
    command = Withdraw(account_id="alice", amount=10)
    first = do(state, request_of(command))
    park(state, command)
    assert do(state, request_of(command)) == replace(first, replayed=True)


def test_a_replay_tells_of_its_own_time() -> None:
    """Balance and time are those of the change, not of the question."""
    state = empty_state()
    opened = do(state, request_of(Deposit(account_id="alice", amount=10), "one"), NOW)
    do(state, request_of(Deposit(account_id="alice", amount=5), "two"), NOW + 7)
    again = do(state, request_of(Deposit(account_id="alice", amount=10), "one"), NOW + 9)
    assert (again.balance, again.timestamp) == (opened.balance, NOW) == (10, NOW)


def test_a_released_reservation_stays_replayable_and_the_commit_refused() -> None:
    """The key still names the reservation; the reservation still says how it ended."""
    state = state_of([account()])
    reserve = request_of(Reserve(account_id="alice", table_id="t1", amount=30))
    do(state, reserve)
    do(state, request_of(Release(reservation_id=reserve.record_id)))
    assert do(state, reserve).replayed
    refused = do(state, request_of(Commit(reservation_id=reserve.record_id)))
    assert refused == Answer(outcome=Outcome.RESERVATION_NOT_HELD)
