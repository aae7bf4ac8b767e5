"""The board of safety stops in the store: workers post, ops see and take down."""

import msgspec
from msgspec.structs import replace

from app.services.ops_log import Deed
from app.services.stops import Stop
from app.storage import keys
from app.storage.backend import Backend
from app.storage.ops_log import StoreOpsLog
from app.storage.plan import Plan

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Stop).decode


class StoreStops:
    """Implements `app.services.stops.StopBoard`, and what ops do with it."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def post(self, stops: list[Stop]) -> None:
        """See StopBoard. What workers have left behind that are gone is taken down on the way."""
        now, alive, posted = self._look()
        plan = Plan()
        for stop in stops:
            field = keys.stop_field(stop.worker, stop.kind)
            plan.write("HSET", keys.STOPS, field, _encode(replace(stop, at=now)).decode())
        for stop in posted:
            if stop.worker not in alive and stop.worker not in {each.worker for each in stops}:
                plan.write("HDEL", keys.STOPS, keys.stop_field(stop.worker, stop.kind))
        plan.write("HINCRBY", keys.META, "commits", 1)
        self._backend.commit(plan)

    def posted(self, worker: str) -> set[str]:
        """See StopBoard."""
        return {stop.kind for stop in self._look()[2] if stop.worker == worker}

    def of_the_living(self) -> list[Stop]:
        """The stops of workers that are alive, the oldest first."""
        _, alive, posted = self._look()
        return sorted(
            (stop for stop in posted if stop.worker in alive), key=lambda each: (each.at, each.kind)
        )

    def take_down(self, kind: str, deed: Deed) -> list[Stop]:
        """Take down the stops of a kind, of all kinds for "", with a line in the ops log; what was there."""
        taken: list[Stop] = []

        def prepare(plan: Plan, _now: int) -> Deed | None:
            taken[:] = [stop for stop in self._look()[2] if kind in ("", stop.kind)]
            for stop in taken:
                plan.write("HDEL", keys.STOPS, keys.stop_field(stop.worker, stop.kind))
            return deed if taken else None

        StoreOpsLog(self._backend).commit(prepare)
        return taken

    def _look(self) -> tuple[int, set[str], list[Stop]]:
        """The time (ms), the workers alive, and all that is posted."""
        plan = Plan()
        plan.read("ZRANGE", keys.WORKERS, 0, -1, "WITHSCORES")
        plan.read("HGETALL", keys.STOPS)
        now, (workers, pairs) = self._backend.read(plan)
        until = zip(workers[::2], workers[1::2], strict=True)
        alive = {name.decode() for name, till in until if int(till) > now}
        return now, alive, [_decode(value) for value in pairs[1::2]]
