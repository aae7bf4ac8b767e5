"""What the store forgets by itself, and that it is nothing else."""

import pytest

from app.domain.commands import Deposit, Release, Reserve, Withdraw
from app.queueing.envelope import encode_message, seal
from app.queueing.limits import MESSAGES_ON_THEIR_WAY
from app.services.queue import Lane
from app.services.work import Delivery
from app.storage import keys
from app.storage.writing import POT_KEPT_SECONDS, RESERVATION_KEPT_MS, RESULTS_KEPT_SECONDS, Writing
from tests.support.audits import DAY_MS, Auditing
from tests.support.books import Books
from tests.support.scene import ALICE
from tests.support.store import RealStore
from tests.support.waiting import eventually
from tests.support.workers import a_worker

REFUSALS = "balance:transactions:idempotency:"
ENDED_HOLDS = keys.RESERVATIONS
POTS = keys.POTS
NODE_ENTRIES = 100
"""A server trims whole nodes of a stream: so many entries may stay beyond its length."""


def lives(store: RealStore) -> dict[str, int]:
    """How long each key lives that is not kept for ever (ms)."""
    backend = store.backend()
    names = {name for page in backend.scan("") for name in page}
    return {name: life for name in sorted(names) if (life := backend.call("PTTL", name)) > 0}


def test_only_refusals_and_what_has_ended_have_an_end(real_store: RealStore) -> None:
    """
    Given accounts, holds in every state, pots in every state, and refusals
    Expect a life for the refusals, for holds that ended without a buy-in and for pots that ended, each as is
    configured, and for nothing else: not for an applied change, its answer, an entry, or a finding.
    """
    books = Books(real_store.backend())
    books.play()
    books.play_hands()
    books.do(Withdraw(account_id="alice", amount=10**9))
    made = books.do(Reserve(account_id="dave", table_id="t", amount=5))
    books.do(Release(reservation_id=made[0].reservation_id))
    Auditing(real_store.backend()).audit()
    found = lives(real_store)
    longest = {REFUSALS: DAY_MS, ENDED_HOLDS: RESERVATION_KEPT_MS, POTS: POT_KEPT_SECONDS * 1_000}
    assert {next(each for each in longest if name.startswith(each)) for name in found} == set(longest)
    for name, life in found.items():
        kept = next(longest[each] for each in longest if name.startswith(each))
        assert kept - 60_000 < life <= kept, name


def test_answers_on_their_way_are_gone_after_a_minute(real_store: RealStore) -> None:
    """They are for a front end that waits; who asks again finds the outcome under the key."""
    envelope = seal(
        Deposit(account_id=ALICE, amount=5), key="k", command_id="c", remaining_ms=0, reply_to="front"
    )
    backend = real_store.backend()
    with a_worker(real_store):
        backend.append([((0, Lane.INTERACTIVE), encode_message([envelope], "m"))])
        eventually(lambda: backend.call("XLEN", keys.results("front")) == 1)
    assert 0 < backend.call("TTL", keys.results("front")) <= RESULTS_KEPT_SECONDS


@pytest.mark.parametrize("partitions", [4, 64, 250])
def test_of_unread_answers_all_that_can_be_on_their_way_are_kept_and_no_heap(
    real_store: RealStore, partitions: int
) -> None:
    """
    Given a front end that does not read, and far more answers than it can have messages on their way
    Expect at least twice as many of them kept as these are, and a bound.
    """
    backend, given = real_store.backend(), 20 * partitions + 1_500
    writing = Writing(partitions, DAY_MS, DAY_MS, 0)
    for number in range(given):
        of_one_commit = Delivery(1, 1, Lane.INTERACTIVE, "1-1", f"m{number}", "front", works=[])
        writing.answers([of_one_commit])
    assert backend.commit(writing.finish()) == []
    kept = backend.call("XLEN", keys.results("front"))
    assert 2 * MESSAGES_ON_THEIR_WAY * partitions <= kept < given
    assert kept <= max(1_000, 16 * partitions) + NODE_ENTRIES
