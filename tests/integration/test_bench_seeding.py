"""What the benchmarks seed is a store like any other: the audit accepts it, and commands carry on from it."""

from app.domain.commands import Deposit, Reserve
from app.domain.outcomes import Outcome
from app.services.verification import Report
from app.storage.auditing import Auditor, partitions_of
from ops.bench.seeding import INITIAL_BALANCE, account_id, seed_accounts, seeder
from tests.support.books import PARTITIONS, Books
from tests.support.store import RealStore


def audited(store: RealStore) -> Report:
    backend = store.backend()
    return Auditor(backend, partitions_of(backend)).run()


def test_a_seeded_store_is_whole(real_store: RealStore) -> None:
    """Accounts from several processes, a ledger of three segments, holds past their time, ended or not."""
    seed_accounts(real_store.url, PARTITIONS, 600, chunk=250)
    with seeder(real_store.url, PARTITIONS) as seeding:
        seeding.entries("deep", 2_500)
        seeding.past_holds("forgotten", 300, ended=False)
        seeding.past_holds("tidy", 300, ended=True)
    report = audited(real_store)
    assert report.findings == []
    assert (report.accounts, report.entries, report.reservations) == (603, 600 + 2_500 + 2, 600)
    assert report.supply.accounts == 600 * INITIAL_BALANCE + 2_500 + 600


def test_commands_carry_on_from_what_was_seeded(real_store: RealStore) -> None:
    """Each kind of seeded account takes a deposit and a hold, and the store stays whole."""
    with seeder(real_store.url, PARTITIONS) as seeding:
        seeding.accounts(range(3))
        seeding.entries("deep", 1_100)
        seeding.past_holds("forgotten", 70, ended=False)
        seeding.past_holds("tidy", 70, ended=True)
    books = Books(real_store.backend())
    names = (account_id(2), "deep", "forgotten", "tidy")
    answers = books.do(*(Deposit(account_id=name, amount=5) for name in names))
    assert [answer.balance for answer in answers] == [INITIAL_BALANCE + 5, 1_105, 75, 75]
    held = books.do(*(Reserve(account_id=name, table_id="t1", amount=75) for name in names))
    assert {answer.outcome for answer in held} == {Outcome.OK}
    report = audited(real_store)
    assert report.findings == []
    assert report.reservations == 144
