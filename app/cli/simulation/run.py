"""One run of a simulation: all players at once for a while; then seats are emptied and chips are counted."""

import asyncio
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from app.cli.simulation.caller import Caller, Unexpected
from app.cli.simulation.moves import MOVES, play
from app.cli.simulation.player import Player
from app.cli.simulation.tally import Tally

_LARGEST_START = 10_000  # chips


@dataclass(frozen=True, slots=True)
class RunReport:
    """What a run came to. `seconds` is how long it took; chips are those of all players together."""

    seed: int
    players: int
    seconds: float
    tally: Tally
    chips_expected: int
    chips_found: int

    @property
    def calls_per_second(self) -> float:
        """Of the whole run, from the first account opened to the last look."""
        return self.tally.calls / self.seconds

    @property
    def good(self) -> bool:
        """True when every call ended as it must and no chip was made or lost."""
        return not self.tally.errors and self.chips_expected == self.chips_found

    @property
    def title(self) -> str:
        """Who played."""
        return f"{self.players} players, seed {self.seed}"

    def summary(self) -> Iterator[str]:
        """The figures for people."""
        tally = self.tally
        yield f"{tally.calls:,} calls in {self.seconds:.1f} s, {self.calls_per_second:,.0f} per second"
        yield f"p50 {tally.percentile(0.50):.1f} ms, p99 {tally.percentile(0.99):.1f} ms"
        yield f"{tally.retries:,} attempts made again, {tally.errors:,} errors"
        yield f"chips expected {self.chips_expected:,}, found {self.chips_found:,}"

    def as_json(self) -> dict[str, Any]:
        """The report under the names that programs read."""
        tally = self.tally
        return {
            "seed": self.seed,
            "players": self.players,
            "seconds": round(self.seconds, 3),
            "calls": {method: dict(tally.outcomes[method]) for method in sorted(tally.outcomes)},
            "callsPerSecond": round(self.calls_per_second, 1),
            "p50Ms": round(tally.percentile(0.50), 2),
            "p99Ms": round(tally.percentile(0.99), 2),
            "retries": tally.retries,
            "errors": tally.errors,
            "chipsExpected": self.chips_expected,
            "chipsFound": self.chips_found,
        }


class Simulation:
    """Players under account ids that no other run has used; what they do follows from the seed."""

    def __init__(self, caller: Caller, tally: Tally, *, players: int, seed: int) -> None:
        run = secrets.token_hex(4)
        self._tally = tally
        self._seed = seed
        self._players = [
            Player(f"sim-{run}-{number}", caller, Random(f"{seed}-{number}"))  # noqa: S311 - repeatable
            for number in range(1, players + 1)
        ]
        self._over = asyncio.Event()

    def stop(self) -> None:
        """Let the players finish their moves, then leave."""
        self._over.set()

    async def run(self, seconds: float) -> RunReport:
        """Play for that long, or until `stop`, then settle."""
        began = time.perf_counter()
        timer = asyncio.get_running_loop().call_later(seconds, self.stop)
        async with asyncio.TaskGroup() as players:
            for player in self._players:
                players.create_task(self._career(player))
        timer.cancel()
        return RunReport(
            seed=self._seed,
            players=len(self._players),
            seconds=time.perf_counter() - began,
            tally=self._tally,
            chips_expected=sum(player.brought for player in self._players),
            chips_found=sum(player.found for player in self._players),
        )

    async def _career(self, player: Player) -> None:
        """Everything a player does. The first one makes each move there is, however short the run."""
        try:
            await player.open(player.rng.randint(0, _LARGEST_START))
            if player is self._players[0]:
                for move in MOVES:
                    await move(player)
            while not self._over.is_set():
                await play(player)
            await player.leave()
        except Unexpected as problem:
            self._tally.wrong(str(problem))
        try:
            await player.look()
        except Unexpected as problem:
            self._tally.wrong(str(problem))
