"""The real backends, their calls counted: by command, or by function of the library."""

import time
from typing import Any

from app.services.faults import StoreRefused
from app.services.queue import Stream
from app.services.watching import CallMeter
from app.storage.backend import Reply
from app.storage.backends.valkey import ValkeyBackend
from app.storage.backends.valkey_async import AsyncConnection


class MeteredBackend(ValkeyBackend):
    """A ValkeyBackend whose calls are counted."""

    def __init__(self, url: str, meter: CallMeter) -> None:
        super().__init__(url)
        self._meter = meter

    def append(self, messages: list[tuple[Stream, str]]) -> list[str]:
        """See PartitionQueue."""
        began = time.perf_counter()
        result = "away"
        try:
            entry_ids = super().append(messages)
            result = "ok"
            return entry_ids
        finally:
            self._meter.store_call("XADD", result, time.perf_counter() - began)

    def call(self, *command: Any) -> Reply:
        """See ValkeyBackend."""
        began = time.perf_counter()
        result = "away"
        try:
            reply = super().call(*command)
            result = "ok"
            return reply
        except StoreRefused:
            result = "refused"
            raise
        finally:
            self._meter.store_call(_name_of(command), result, time.perf_counter() - began)


class MeteredConnection(AsyncConnection):
    """An AsyncConnection whose exchanges are counted, each as one call of its first command."""

    def __init__(self, url: str, timeout_seconds: float, meter: CallMeter) -> None:
        super().__init__(url, timeout_seconds)
        self._meter = meter

    async def exchange(self, commands: list[tuple[Any, ...]], number: int = 0) -> list[Reply]:
        """See AsyncConnection."""
        began = time.perf_counter()
        result = "ok"
        try:
            replies = await super().exchange(commands, number)
            if any(isinstance(reply, Exception) for reply in replies):
                result = "refused"
            return replies
        except Exception:
            result = "away"
            raise
        finally:
            self._meter.store_call(_name_of(commands[0]), result, time.perf_counter() - began)


def _name_of(command: tuple[Any, ...]) -> str:
    name = str(command[0])
    return str(command[1]) if name.startswith("FCALL") else name
