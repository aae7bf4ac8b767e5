"""The ports through which adapters and front ends are watched, each with its null twin.

Whoever watches never decides, delays or raises: what is told here is told to people.
"""

from typing import Protocol


class Begun(Protocol):
    """A request that is being watched."""

    def end(self, method: str, status: str) -> None:
        """It was this method, or route, and ended so."""
        ...


class Watch(Protocol):
    """Watches the requests of a front end. `wants_trace` when it has a use for the caller's traceparent."""

    wants_trace: bool

    def begin(self, front_end: str, traceparent: str = "") -> Begun:
        """A request has come in, `grpc` or `http`."""
        ...


class CallMeter(Protocol):
    """Counts the calls of a connection to the store."""

    def store_call(self, call: str, result: str, seconds: float) -> None:
        """A call took so long; the result is `ok`, `refused` or `away`."""
        ...


class _Nobody:
    """Watches nothing, at no cost."""

    wants_trace = False

    def begin(self, front_end: str, traceparent: str = "") -> Begun:
        return self

    def end(self, method: str, status: str) -> None:
        pass

    def store_call(self, call: str, result: str, seconds: float) -> None:
        pass


_nobody = _Nobody()
UNWATCHED: Watch = _nobody
UNMETERED: CallMeter = _nobody
