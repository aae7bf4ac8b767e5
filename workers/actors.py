"""The actors, declared on a broker that is handed in: importing this module has no effect."""

import logging

import dramatiq

from app.queueing.broker import StreamsBroker
from app.queueing.limits import ACTOR_NAME, QUEUE_NAME
from app.services.execution import Execution
from app.services.faults import StoreUnavailable
from app.services.work import Unit

_log = logging.getLogger(__name__)


def declare_actors(broker: StreamsBroker, execution: Execution) -> "dramatiq.Actor[[Unit], None]":
    """Declare the actor that carries out commands.

    A producer sends it a list of envelopes of one partition; the consumer hands it the unit of work that
    these became part of.
    """

    @dramatiq.actor(broker=broker, queue_name=QUEUE_NAME, actor_name=ACTOR_NAME)
    def execute(unit: Unit) -> None:
        try:
            broker.forget(execution.run(unit))
        except StoreUnavailable as away:
            _log.warning("a unit is left in its queues: %s", away)
            unit.abandoned = True
        except BaseException:
            unit.abandoned = True  # Dramatiq takes it for done; what was not committed is still in its queue
            raise

    return execute
