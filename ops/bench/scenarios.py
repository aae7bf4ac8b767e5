"""Every row of the benchmarks, as data: who is called, how, and what the row is compared with."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import randrange

from ops.bench import stock
from ops.bench.floor import direct_commits
from ops.bench.load import Accounts, Measured, closed_loop, open_loop
from ops.bench.seeding import Seeder, account_id
from ops.bench.servers import Place, Server, echo, service
from ops.bench.servers import stock as stock_server

Load = Callable[[Place, float], Measured]
"""Calls a server for so many seconds."""


@dataclass(slots=True, frozen=True, eq=False)
class Row:
    """One line of the table. `against` are rows of the same part, called `short`, it is compared with."""

    name: str
    server: Server
    load: Load
    against: tuple["Row", ...] = ()
    short: str = ""


@dataclass(slots=True, frozen=True)
class Part:
    """Rows that are measured in alternation; `rounds` and `seconds` where those of the run do not suit."""

    name: str
    rows: tuple[Row, ...]
    rounds: int | None = None
    seconds: float | None = None


def in_turn(count: int) -> Accounts:
    """That many accounts, one after the other."""
    return lambda number: f"bench-{number % count}"


def any_seeded(count: int) -> Accounts:
    """Any of the seeded accounts, by chance."""
    return lambda _: account_id(randrange(count))  # noqa: S311 - load, not a secret


def only(name: str) -> Accounts:
    """One hot account."""
    return lambda _: name


def calls(in_flight: int, accounts: Accounts) -> Load:
    return lambda place, seconds: closed_loop(place.grpc, seconds, in_flight=in_flight, accounts=accounts)


def calls_at(rate: float) -> Load:
    accounts = in_turn(1_000)
    return lambda place, seconds: open_loop(place.grpc, seconds, rate=rate, accounts=accounts)


def stock_messages(in_flight: int) -> Load:
    return lambda place, seconds: stock.closed_loop(place.store, seconds, in_flight=in_flight)


ONE_WORKER: Server = service
TWO_WORKERS: Server = partial(service, workers=2)

SPREAD = in_turn(1_000)

ECHO_64 = Row("bare grpc.aio echo, 64 in flight", echo, calls(64, SPREAD), short="the echo")
SPREAD_64 = Row("deposits, 64 in flight, 1,000 accounts", ONE_WORKER, calls(64, SPREAD), (ECHO_64,), "spread")
HOT_64 = Row(
    "deposits, 64 in flight, one hot account", ONE_WORKER, calls(64, only("hot")), (ECHO_64, SPREAD_64)
)
ECHO_256 = Row("bare grpc.aio echo, 256 in flight", echo, calls(256, SPREAD), short="the echo")
SPREAD_256 = Row("deposits, 256 in flight, 1,000 accounts", ONE_WORKER, calls(256, SPREAD), (ECHO_256,))

ECHO_1 = Row("bare grpc.aio echo, 1 in flight", echo, calls(1, SPREAD), short="the echo")
COMMIT_1 = Row(
    "one commit of a deposit, called directly",
    ONE_WORKER,
    lambda place, seconds: direct_commits(place.store, seconds),
)
SINGLE = Row("deposits, 1 in flight", ONE_WORKER, calls(1, SPREAD), (ECHO_1,))

IDLE = Row("deposits, idle: 1 call/s", ONE_WORKER, calls_at(1))
OPEN_500 = Row("deposits, open loop at 500/s", ONE_WORKER, calls_at(500))
OPEN_2000 = Row("deposits, open loop at 2,000/s", ONE_WORKER, calls_at(2_000))

LASTING = Row("deposits, 64 in flight, one hot account for 60 s", ONE_WORKER, calls(64, only("lasting")))

ONE_64 = Row("deposits, 64 in flight, one worker", ONE_WORKER, calls(64, SPREAD), short="one")
TWO_64 = Row("deposits, 64 in flight, two workers", TWO_WORKERS, calls(64, SPREAD), (ONE_64,))


def of_many(count: int, *against: Row) -> Row:
    """Deposits on any of so many accounts in the store."""
    server = partial(service, accounts=count)
    return Row(
        f"deposits, 64 in flight, any of {count:,} accounts",
        server,
        calls(64, any_seeded(count)),
        against,
        f"{count:,}",
    )


THOUSAND = of_many(1_000)
HUNDRED_THOUSAND = of_many(100_000, THOUSAND)
MILLION = of_many(1_000_000, THOUSAND)


def _seed_deep(seeding: Seeder) -> None:
    seeding.entries("deep", 1_000_000)


_WITH_DEEP: Server = partial(service, seed=_seed_deep)
SHALLOW = Row(
    "deposits, 64 in flight, one account, fresh", _WITH_DEEP, calls(64, only("shallow")), short="fresh"
)
DEEP = Row(
    "deposits, 64 in flight, one account with 1,000,000 ledger entries",
    _WITH_DEEP,
    calls(64, only("deep")),
    (SHALLOW,),
)


def _seed_holds(seeding: Seeder) -> None:
    seeding.past_holds("ended", 10_000, ended=True)
    seeding.past_holds("most", 64, ended=False)
    seeding.past_holds("beyond", 10_000, ended=False)


_WITH_HOLDS: Server = partial(service, seed=_seed_holds)
NO_HOLDS = Row(
    "deposits, 1 in flight, one account, no holds", _WITH_HOLDS, calls(1, only("free")), short="none"
)
ENDED_HOLDS = Row(
    "deposits, 1 in flight, 10,000 holds EXPIRED", _WITH_HOLDS, calls(1, only("ended")), (NO_HOLDS,)
)
MOST_HOLDS = Row(
    "deposits, 1 in flight, 64 holds past their time, not yet ended",
    _WITH_HOLDS,
    calls(1, only("most")),
    (NO_HOLDS,),
)
BEYOND_HOLDS = Row(
    "deposits, 1 in flight, 10,000 holds past their time, not yet ended (64 are allowed)",
    _WITH_HOLDS,
    calls(1, only("beyond")),
    (NO_HOLDS,),
)

STOCK_64 = Row("stock Dramatiq, 64 in flight", stock_server, stock_messages(64), short="stock")
STOCK_1 = Row("stock Dramatiq, 1 in flight", stock_server, stock_messages(1), short="stock")
STOCK_IDLE = Row(
    "stock Dramatiq, idle: 1 message/s",
    stock_server,
    lambda place, seconds: stock.idle(place.store, seconds),
)
BESIDE_STOCK_64 = Row("deposits beside it, 64 in flight", ONE_WORKER, calls(64, SPREAD), (STOCK_64,))
BESIDE_STOCK_1 = Row("deposits beside it, 1 in flight", ONE_WORKER, calls(1, SPREAD), (STOCK_1,))

PARTS = (
    Part("closed", (ECHO_64, SPREAD_64, HOT_64, ECHO_256, SPREAD_256)),
    Part("single", (ECHO_1, COMMIT_1, SINGLE)),
    Part("idle", (IDLE,), rounds=2, seconds=10),
    Part("open", (OPEN_500, OPEN_2000), seconds=4),
    Part("hot", (LASTING,), rounds=6, seconds=10),
    Part("workers", (ONE_64, TWO_64)),
    Part("accounts", (THOUSAND, HUNDRED_THOUSAND, MILLION), rounds=3),
    Part("deep", (SHALLOW, DEEP), rounds=3),
    Part("holds", (NO_HOLDS, ENDED_HOLDS, MOST_HOLDS, BEYOND_HOLDS), rounds=3),
    Part("stock", (STOCK_64, BESIDE_STOCK_64, STOCK_1, BESIDE_STOCK_1), rounds=3),
    Part("stock-idle", (STOCK_IDLE,), rounds=1, seconds=10),
)
