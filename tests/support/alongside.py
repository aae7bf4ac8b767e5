"""A backend as the asyncio connection of a front end: the same plans, on any ground."""

from app.services.faults import StoreUnavailable, Unavailable
from app.storage.backend import Backend, Reply
from app.storage.plan import Plan


class Alongside:
    """Implements `app.storage.commands.Connection`."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def look(self, plan: Plan) -> tuple[int, list[Reply]]:
        try:
            return self._backend.read(plan)
        except StoreUnavailable as away:
            raise Unavailable(str(away)) from away

    async def commit(self, plan: Plan) -> list[int]:
        return self._backend.commit(plan)

    async def confirm(self) -> None:
        """There are no replicas."""

    async def close(self) -> None:
        """Nothing to close."""
