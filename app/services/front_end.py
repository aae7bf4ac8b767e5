"""What a front-end process works with, whatever it speaks: commands to the queue, reads from the store."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from app.services.asynchronous import Submissions
from app.services.history import History
from app.services.lookups import Lookups
from app.services.operations import OpsRoom
from app.services.payouts import Payouts
from app.services.queries import Queries
from app.services.submission import CommandBus
from app.services.watching import UNWATCHED, Watch


@dataclass(slots=True, frozen=True)
class FrontEnd:
    """What one front-end process works with, from its start until it calls `close`."""

    bus: CommandBus
    queries: Queries
    history: History
    lookups: Lookups
    ops: OpsRoom
    submissions: Submissions
    payouts: Payouts
    close: Callable[[], Awaitable[None]]
    watch: Watch = UNWATCHED
