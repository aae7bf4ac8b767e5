"""An evening of poker: tables play full hands on the service; at the end all chips there are are counted."""

import asyncio
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from app.cli.simulation.caller import Unexpected, check_equal
from app.cli.simulation.poker_table import PokerTable, Score
from app.cli.simulation.seating import Bankroll, Seating, named
from app.cli.simulation.tally import Tally
from app.cli.target import Target
from app.client import AsyncBalanceClient, Balance, BalanceError, Policy, Refused
from app.client.calls import Answer, Call
from app.rpc.tls import credentials, expected_name

# An outage is waited for, by all calls under way: a breaker would only end the evening.
_POLICY = Policy(total_seconds=30.0, breaker_failures=1_000_000)


class CountingClient(AsyncBalanceClient):
    """The client with a tally of its calls."""

    def __init__(self, target: Target, tally: Tally) -> None:
        tls = target.tls
        super().__init__(
            target.grpc,
            token=target.token,
            credentials=credentials(tls) if tls else None,
            policy=_POLICY,
            options=dict(expected_name(tls)) if tls else None,
        )
        self._tally = tally

    async def send(self, call: Call[Answer]) -> Answer:
        """The answer, counted with its time."""
        outcome, began = "OK", time.perf_counter()
        try:
            return await super().send(call)
        except Refused as refused:
            outcome = refused.code
            raise
        except BalanceError as error:
            outcome = type(error).__name__
            raise
        finally:
            self._tally.called(call.method, outcome, (time.perf_counter() - began) * 1000)


@dataclass(frozen=True, slots=True)
class EveningReport:
    """What an evening came to.

    Chips: `expected` were deposited less what was withdrawn, `found` are there, with the house's rake.
    """

    seed: int
    tables: int
    players: int
    seconds: float
    score: Score
    tally: Tally
    expected: int
    found: int

    @property
    def hands_per_second(self) -> float:
        """Of the whole evening, from the first account opened to the last look."""
        return self.score.hands / self.seconds

    @property
    def good(self) -> bool:
        """True when every call ended as it must and no chip was made or lost."""
        return not self.tally.errors and self.expected == self.found

    @property
    def title(self) -> str:
        """Who played."""
        return f"{self.score.hands} hands, {self.players} players, seed {self.seed}"

    def summary(self) -> Iterator[str]:
        """The figures for people."""
        score, tally = self.score, self.tally
        yield f"{score.hands:,} hands in {self.seconds:.1f} s, {self.hands_per_second:.1f} per second"
        yield f"{score.settled:,} settled, {score.cancelled:,} cancelled, rake {score.rake:,}"
        yield f"{score.side_pots:,} with side pots, {score.split_pots:,} split, {score.odd_chips:,} odd chips"
        yield f"{tally.calls:,} calls, {tally.errors:,} errors"
        yield f"chips expected {self.expected:,}, found {self.found:,}"

    def as_json(self) -> dict[str, Any]:
        """The report under the names that programs read."""
        return {
            "seed": self.seed,
            "hands": self.score.hands,
            "settled": self.score.settled,
            "cancelled": self.score.cancelled,
            "sidePots": self.score.side_pots,
            "splitPots": self.score.split_pots,
            "oddChips": self.score.odd_chips,
            "settledAgain": self.score.settled_again,
            "rake": self.score.rake,
            "tables": self.tables,
            "players": self.players,
            "calls": self.tally.calls,
            "errors": self.tally.errors,
            "expected": self.expected,
            "found": self.found,
            "seconds": round(self.seconds, 3),
            "handsPerSecond": round(self.hands_per_second, 1),
        }


class Evening:
    """Tables under ids that no other run has used; the hands follow from the seed, table by table."""

    def __init__(
        self, client: AsyncBalanceClient, tally: Tally, *, hands: int, players: int, tables: int, seed: int
    ) -> None:
        run = secrets.token_hex(4)
        self.score = Score()
        self._client = client
        self._tally = tally
        self._seed = seed
        self._hands = [hands // tables + (number < hands % tables) for number in range(tables)]
        self._tables = [
            self._table(f"sim-{run}-table-{number}", players, Random(f"{seed}-{number}"))  # noqa: S311 - repeatable
            for number in range(1, tables + 1)
        ]
        self._over = asyncio.Event()

    def stop(self) -> None:
        """Let the tables finish their hands, then have everybody cash out."""
        self._over.set()

    async def run(self) -> EveningReport:
        """Play all hands, or until `stop`, then count."""
        began = time.perf_counter()
        await asyncio.gather(*map(self._play, self._tables, self._hands))
        players = [player for table in self._tables for player in table.seating.everybody]
        found = self.score.rake
        for counted in await asyncio.gather(*map(self._count, self._tables)):
            found += counted
        return EveningReport(
            seed=self._seed,
            tables=len(self._tables),
            players=len(players),
            seconds=time.perf_counter() - began,
            score=self.score,
            tally=self._tally,
            expected=sum(player.brought for player in players),
            found=found,
        )

    def _table(self, table_id: str, seats: int, rng: Random) -> PokerTable:
        seating = Seating(table_id, seats, self._client, rng)
        return PokerTable(seating, self._client, self.score, rng)

    async def _play(self, table: PokerTable, hands: int) -> None:
        """The whole evening of a table. The first chip too many or too few ends it for all of them."""
        try:
            await table.play(hands, self._over.is_set)
        except Unexpected as problem:
            self._tally.wrong(str(problem))
            self.stop()

    async def _count(self, table: PokerTable) -> int:
        """The chips of everybody who has played there, and what still lies on the table."""
        seating, found = table.seating, 0
        try:
            with named(seating.table_id, "counting"):
                left = await self._client.get_table(seating.table_id)
                found += left.total_in_play + left.total_in_pots
                for player in seating.everybody:
                    account = await self._client.get_balance(player.account_id)
                    found += account.balance
                    self._compare(account, player)
        except Unexpected as problem:
            self._tally.wrong(str(problem))
        return found

    def _compare(self, account: Balance, player: Bankroll) -> None:
        """An account that is wrong does not end the count: all others are still looked at."""
        try:
            with named(player.account_id, "at the end"):
                check_equal("stale", account.stale, False)
                check_equal("available", account.available_balance, player.balance)
                check_equal("balance", account.balance, player.balance)
        except Unexpected as problem:
            self._tally.wrong(str(problem))
