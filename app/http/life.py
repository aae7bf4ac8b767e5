"""The front end of this process, from start-up to end of the ASGI lifespan; resources reach it here."""

from collections.abc import Awaitable, Callable
from typing import Any

from app.services.asynchronous import Submissions
from app.services.front_end import FrontEnd
from app.services.history import History
from app.services.lookups import Lookups
from app.services.operations import OpsRoom
from app.services.payouts import Payouts
from app.services.queries import Queries
from app.services.submission import CommandBus
from app.services.watching import Watch

OpenFrontEnd = Callable[[], Awaitable[FrontEnd]]


class FrontEndLife:
    """Opens the front end when the process starts and closes it when it ends."""

    front_end: FrontEnd  # from the start-up on

    def __init__(self, open_front_end: OpenFrontEnd) -> None:
        self._open = open_front_end

    async def process_startup(self, _scope: dict[str, Any], _event: dict[str, Any]) -> None:
        self.front_end = await self._open()

    async def process_shutdown(self, _scope: dict[str, Any], _event: dict[str, Any]) -> None:
        await self.front_end.close()

    @property
    def watch(self) -> Watch:
        return self.front_end.watch

    @property
    def bus(self) -> CommandBus:
        return self.front_end.bus

    @property
    def queries(self) -> Queries:
        return self.front_end.queries

    @property
    def lookups(self) -> Lookups:
        return self.front_end.lookups

    @property
    def ops(self) -> OpsRoom:
        return self.front_end.ops

    @property
    def submissions(self) -> Submissions:
        return self.front_end.submissions

    @property
    def payouts(self) -> Payouts:
        return self.front_end.payouts

    @property
    def history(self) -> History:
        return self.front_end.history
