"""What the page reads from the store, on a real one: the same as the records say, at little cost."""

from itertools import chain

from msgspec.structs import replace
from prometheus_client import CollectorRegistry, generate_latest

from app.domain.commands import Commit, Deposit, RecordContribution, Reserve, Withdraw
from app.domain.identifiers import partition_of
from app.services.facts import StoreFacts
from app.services.faults import StoreUnavailable
from app.services.queue import Lane
from app.services.stops import Stop
from app.storage import keys
from app.storage.facts import StoreLook
from app.storage.overview import StoreSwitches
from app.storage.stops import StoreStops
from app.telemetry.store_page import StoreCollector
from tests.support.books import PARTITIONS, Books
from tests.support.scraping import Page
from tests.support.store import RealStore


class Facts:
    """A look at a store that can be gone, counted."""

    def __init__(self, store: RealStore) -> None:
        self._look = StoreLook(store.backend(), PARTITIONS)
        self.looks = 0
        self.gone = False

    def look(self) -> StoreFacts:
        self.looks += 1
        if self.gone:
            raise StoreUnavailable("gone")
        return self._look.look()


def page(collector: StoreCollector) -> Page:
    registry = CollectorRegistry()
    registry.register(collector)
    return Page.of(generate_latest(registry).decode())


def test_the_page_tells_the_economy_to_the_chip(real_store: RealStore) -> None:
    """Chips in accounts, held, in play and in pots; what came in and went out; nothing made or lost."""
    books = Books(real_store.backend())
    books.do(Deposit(account_id="a", amount=1_000), Deposit(account_id="b", amount=50, source="BONUS"))
    (held,) = books.do(Reserve(account_id="a", table_id="t", amount=300))
    books.do(Commit(reservation_id=held.reservation_id))
    books.do(
        RecordContribution(table_id="t", hand_id="h", seat_id=1, account_id="a", amount=20),
        Reserve(account_id="a", table_id="t", amount=5),
        Withdraw(account_id="a", amount=100),
    )
    told = page(StoreCollector(Facts(real_store)))
    wanted = {
        "balance_store_up": 1,
        "balance_supply_chips": 950,
        "balance_supply_drift_chips": 0,
        "balance_account_chips": 650,
        "balance_held_chips": 5,
        "balance_in_play_chips": 280,
        "balance_in_pots_chips": 20,
        "balance_house_chips": 0,
        "balance_accounts": 2,
        "balance_ledger_entries_total": 4,
        "balance_held_reservations": 1,
        "balance_active_pots": 1,
        "balance_dead_letters": 0,
        "balance_partitions_unowned": 0,
    }
    assert {name: told.value(name) for name in wanted} == wanted
    moved = {kind: told.value("balance_moved_chips_total", type=kind) for kind in ("BONUS", "BUY_IN")}
    assert moved == {"BONUS": 50, "BUY_IN": 300}
    assert told.value("balance_partitions_owned", worker="books") == PARTITIONS
    assert abs(told.value("balance_clock_offset_seconds")) < 60


def test_a_chip_too_many_shows(real_store: RealStore) -> None:
    """If somebody writes a total by hand, Expect the drift."""
    Books(real_store.backend()).do(Deposit(account_id="a", amount=10))
    totals = keys.totals(partition_of("a", PARTITIONS))
    real_store.backend().call("HINCRBY", totals, "CHIPS|balances", -3)
    assert page(StoreCollector(Facts(real_store))).value("balance_supply_drift_chips") == -3


def test_what_waits_and_what_is_parked_shows(real_store: RealStore) -> None:
    """The oldest message of a lane by the store's clock, and the chips that dead letters are about."""
    backend = real_store.backend()
    seconds = int(backend.call("TIME")[0])
    for partition, lane, age in ((0, Lane.BULK, 30), (1, Lane.INTERACTIVE, 90), (3, Lane.INTERACTIVE, 10)):
        backend.call("XADD", keys.queue(partition, lane), f"{(seconds - age) * 1000}-1", "m", "x")
    backend.call("HSET", keys.dead_letters(2), "a", '{"v":1,"amount":40}', "b", '{"v":1}')
    told = page(StoreCollector(Facts(real_store)))
    assert told.value("balance_queue_messages", lane="bulk") == 1
    assert 30 <= told.value("balance_queue_oldest_message_seconds", lane="bulk") < 60
    assert 90 <= told.value("balance_queue_oldest_message_seconds", lane="interactive") < 120
    assert told.value("balance_dead_letters") == 2
    assert told.value("balance_dead_letter_chips") == 40
    assert told.value("balance_partitions_unowned") == PARTITIONS
    assert told.value("balance_scheduler_leaders") == 0


def test_what_audits_have_found_shows(real_store: RealStore) -> None:
    """Findings of partitions and of the whole, and how long ago all was looked at; before that, for ever."""
    backend = real_store.backend()
    first = page(StoreCollector(Facts(real_store)))
    assert first.value("balance_audit_full_age_seconds") == float("inf")
    now = int(backend.call("TIME")[0]) * 1000
    whole = {"findings": 1, "driftChips": 5, "checked": now - 20_000, "lastFull": now - 90_000}
    backend.call("HSET", keys.AUDIT, *chain(*whole.items()))
    for partition in range(PARTITIONS):
        part = {"findings": partition, "chainBreaks": 1, "checked": now - 30_000, "lastFull": now - 60_000}
        backend.call("HSET", keys.audit(partition), *chain(*part.items()))
    told = page(StoreCollector(Facts(real_store)))
    assert told.value("balance_audit_findings") == 1 + sum(range(PARTITIONS))
    assert told.value("balance_audit_chain_breaks") == PARTITIONS
    assert told.value("balance_audit_drift_chips") == 5
    assert 30 <= told.value("balance_audit_check_age_seconds") < 60
    assert 90 <= told.value("balance_audit_full_age_seconds") < 120


def test_what_is_stopped_or_paused_shows(real_store: RealStore) -> None:
    """Two workers that stop the same kind are one kind; a stop of a worker that is gone is none."""
    backend = real_store.backend()
    Books(backend, "one")
    stop = Stop(kind="Deposit", faults=21, of=100, error="ZeroDivisionError", worker="one")
    StoreStops(backend).post([stop, replace(stop, worker="gone", kind="Withdraw")])
    told = page(StoreCollector(Facts(real_store)))
    assert (told.value("balance_stopped_kinds"), told.value("balance_paused")) == (1, 0)
    StoreSwitches(backend).pause("olga", "a test")
    assert page(StoreCollector(Facts(real_store))).value("balance_paused") == 1


def test_many_scrapes_are_one_look(real_store: RealStore) -> None:
    """The store's work does not grow with those who watch it."""
    facts = Facts(real_store)
    collector = StoreCollector(facts)
    for _ in range(20):
        page(collector)
    assert facts.looks <= 2


def test_a_store_that_is_gone_is_told_and_nothing_else_is(real_store: RealStore) -> None:
    """Not the last picture: an old number that looks like a new one is worse than none."""
    facts = Facts(real_store)
    collector = StoreCollector(facts)
    assert page(collector).value("balance_store_up") == 1
    facts.gone, collector._looked_at = True, -1e9  # a look serves for a second
    told = page(collector)
    assert told.value("balance_store_up") == 0
    assert told.names == {"balance_store_up"}
