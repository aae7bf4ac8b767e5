"""Hands at several tables, as a poker service plays them: 12 contributions, a settlement right behind."""

import asyncio
import secrets
import time

from app.client import AsyncBalanceClient, PayoutTo, Refused, Settlement, Winner
from ops.bench.load import Measured, Stopwatch

PLAYERS = 6
# Seat and chips: everybody calls the big blind, three of them the flop, two the turn.
BETS = ((1, 1), (2, 2), (3, 2), (4, 2), (5, 2), (6, 2), (1, 1), (2, 4), (4, 4), (6, 4), (2, 10), (6, 10))
POT = sum(chips for _, chips in BETS)
STACK = 1_000_000_000  # nobody goes broke
# A call in a thousand overtakes another inside gRPC: then the last bets were not there yet.
TOO_EARLY = frozenset({"POT_NOT_FOUND", "SETTLEMENT_MISMATCH"})


class _Table:
    """Six players with stacks that last; the winner's chips go back in play."""

    def __init__(self, client: AsyncBalanceClient, table_id: str) -> None:
        self._client = client
        self._table_id = table_id

    def _account(self, seat_id: int) -> str:
        return f"{self._table_id}-{seat_id}"

    async def sit_down(self) -> None:
        for seat_id in range(1, PLAYERS + 1):
            await self._client.deposit(self._account(seat_id), STACK)
            held = await self._client.reserve(self._account(seat_id), self._table_id, STACK)
            await self._client.commit(held.reservation_id)

    async def hand(self, hand_id: str) -> None:
        bets = [
            self._client.record_contribution(
                self._table_id, hand_id, seat_id, self._account(seat_id), chips, contribution_type="BET"
            )
            for seat_id, chips in BETS
        ]
        *_, settled = await asyncio.gather(*bets, self._settle(hand_id), return_exceptions=True)
        if isinstance(settled, Refused) and settled.code in TOO_EARLY:
            settled = await self._settle(hand_id)
        if isinstance(settled, BaseException):
            raise settled

    async def _settle(self, hand_id: str) -> Settlement:
        winner = Winner(2, self._account(2), POT)
        return await self._client.settle_pot(
            self._table_id, hand_id, [winner], payout_to=PayoutTo.TABLE, idempotency_key=f"settle:{hand_id}"
        )


def hands(target: str, seconds: float, *, tables: int) -> Measured:
    """One hand after the other at each table; rate, latencies and CPU are those of whole hands."""

    async def run() -> Measured:
        async with AsyncBalanceClient(target) as client:
            name = secrets.token_hex(4)
            playing = [_Table(client, f"bench-{name}-{number}") for number in range(tables)]
            await asyncio.gather(*(table.sit_down() for table in playing))
            watch = Stopwatch()
            until = time.perf_counter() + seconds

            async def evening(table: _Table) -> None:
                number = 0
                while (dealt := time.perf_counter()) < until:
                    number += 1
                    await table.hand(f"hand-{number}")
                    watch.latencies.append(time.perf_counter() - dealt)

            await asyncio.gather(*map(evening, playing))
            return watch.stop()

    return asyncio.run(run())
