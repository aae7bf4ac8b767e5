"""A producer that knows Dramatiq, the broker, and the actor's name, and nothing of the service.

python -m tests.support.producer URL PARTITIONS MESSAGE... sends messages, each a JSON list of envelopes.
"""

import json
import sys
from functools import partial
from typing import Any

import dramatiq

from app.queueing.broker import StreamsBroker
from app.storage.backends.valkey import ValkeyBackend

Envelopes = list[dict[str, Any]]


def declare(url: str, partitions: int) -> "dramatiq.Actor[[Envelopes], None]":
    """The actor as a producer declares it: a name on a queue, without the code behind it."""
    broker = StreamsBroker(partial(ValkeyBackend, url), partitions=partitions)

    @dramatiq.actor(broker=broker, queue_name="balance", actor_name="execute")
    def execute(_envelopes: Envelopes) -> None:
        raise AssertionError("workers carry this out")

    return execute


if __name__ == "__main__":
    url, partitions, *messages = sys.argv[1:]
    execute = declare(url, int(partitions))
    for message in messages:
        execute.send(json.loads(message))
    execute.broker.close()
