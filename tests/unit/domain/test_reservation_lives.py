"""The life of a reservation through several commands: held once, ended once, remembered as it ended."""

import pytest

from app.domain.commands import Commit, Release, Reserve
from app.domain.policy import Policy
from app.domain.reservations import COMMITTED, RELEASED
from tests.support.domain import NOW, POLICY, account, do, request_of, state_of

ALICE = account(balance=100)
RESERVE_30 = Reserve(account_id="alice", table_id="t1", amount=30)


@pytest.mark.parametrize(
    ("timeout_seconds", "policy", "lasts_ms"),
    [
        (0, POLICY, 30_000),
        (0, Policy(reservation_timeout_ms=700), 700),
        (1, POLICY, 1_000),
        (86_400, POLICY, 86_400_000),
    ],
)
def test_a_hold_lasts_as_long_as_was_asked(timeout_seconds: int, policy: Policy, lasts_ms: int) -> None:
    """Without a word from the caller, as long as the service is set to."""
    # Given
    state = state_of([ALICE])
    reserve = request_of(
        Reserve(account_id="alice", table_id="t1", amount=30, timeout_seconds=timeout_seconds)
    )
    # If
    do(state, reserve, policy=policy)
    # Expect: the record says all that a repeated call and the sweep need.
    record = state.reservations[reserve.record_id]
    assert record is not None
    assert record.expires_at == NOW + lasts_ms
    assert (record.created_at, record.fingerprint) == (NOW, reserve.fingerprint)
    assert (record.table_id, record.amount, record.available_balance) == ("t1", 30, 70)
    assert not record.is_past(NOW + lasts_ms - 1)
    assert record.is_past(NOW + lasts_ms)


def test_a_whole_life_from_reserve_to_the_second_commit() -> None:
    """Reserving and committing twice hold and take the chips once."""
    # Given
    state = state_of([ALICE])
    reserve = request_of(RESERVE_30)
    commit = request_of(Commit(reservation_id=reserve.record_id))
    # If
    first, again = do(state, reserve), do(state, reserve, NOW + 1)
    bought, repeated = do(state, commit, NOW + 2), do(state, commit, NOW + 99_000)
    # Expect
    assert (again.reservation_id, again.available_balance) == (first.reservation_id, 70)
    assert (first.replayed, again.replayed) == (False, True)
    assert (repeated.transaction_id, repeated.balance) == (bought.transaction_id, 70)
    assert (bought.replayed, repeated.replayed) == (False, True)
    alice = state.accounts["alice"]
    assert alice is not None
    assert (alice.balance, alice.reserved, state.holds["alice"]) == (70, 0, {})


@pytest.mark.parametrize(("end", "status"), [(Commit, COMMITTED), (Release, RELEASED)])
def test_reserving_again_after_the_end_holds_nothing_new(end: type[Commit | Release], status: str) -> None:
    """The key has had its one reservation, whatever became of it."""
    state = state_of([ALICE])
    reserve = request_of(RESERVE_30)
    first = do(state, reserve)
    do(state, request_of(end(reservation_id=reserve.record_id)))
    again = do(state, reserve)
    assert (again.reservation_id, again.available_balance) == (first.reservation_id, first.available_balance)
    record = state.reservations[reserve.record_id]
    assert record is not None
    assert record.status == status
    assert state.holds["alice"] == {}
