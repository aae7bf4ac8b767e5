"""Reads single records for front ends and command line, each answer as of one moment."""

from app.domain.identifiers import partition_in, partition_of
from app.domain.pots import Pot
from app.domain.reservations import EXPIRED, HELD, Reservation
from app.services.lookups import TableView
from app.storage import codec, keys
from app.storage.backends.valkey_async import AsyncConnection
from app.storage.plan import Plan


class StoreLookups:
    """Implements `app.services.lookups.Lookups`."""

    def __init__(self, connection: AsyncConnection, partitions: int) -> None:
        self._connection = connection
        self._partitions = partitions

    async def pot(self, table_id: str, hand_id: str) -> Pot | None:
        """See Lookups."""
        plan = Plan()
        plan.read("HGET", keys.pot(self._partition(table_id), table_id, hand_id), "record")
        _, (raw,) = await self._connection.look(plan)
        return codec.pot(raw)

    async def table(self, table_id: str) -> TableView:
        """See Lookups."""
        plan = Plan()
        plan.read("HGETALL", keys.table(self._partition(table_id), table_id))
        _, (pairs,) = await self._connection.look(plan)
        return TableView(table_id=table_id, in_play=codec.in_play(pairs), pots=codec.in_pots(pairs))

    async def reservation(self, reservation_id: str) -> Reservation | None:
        """See Lookups."""
        partition = partition_in(reservation_id)
        if partition is None:
            return None
        plan = Plan()
        plan.read("GET", keys.reservation(partition, reservation_id))
        now, (raw,) = await self._connection.look(plan)
        reservation = codec.reservation(raw)
        if reservation and reservation.status == HELD and reservation.is_past(now):
            return reservation.end(EXPIRED, reservation.expires_at)
        return reservation

    async def reservations(self, account_id: str) -> list[Reservation]:
        """See Lookups."""
        partition = self._partition(account_id)
        ids: list[str] = []
        while True:  # until the records are of the same moment as the list of their ids
            plan = Plan()
            plan.read("HGETALL", keys.holds(partition, account_id))
            for reservation_id in ids:
                plan.read("GET", keys.reservation(partition, reservation_id))
            now, (pairs, *records) = await self._connection.look(plan)
            if ids == (ids := sorted(codec.holds(pairs))):
                break
        found = [reservation for raw in records if (reservation := codec.reservation(raw))]
        held = [each for each in found if each.status == HELD and not each.is_past(now)]
        return sorted(held, key=lambda each: (each.expires_at, each.reservation_id))

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()

    def _partition(self, aggregate_id: str) -> int:
        return partition_of(aggregate_id, self._partitions)
