"""Times as callers see them. Inside, a time is an int: ms since the epoch, UTC."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso_time(milliseconds: int) -> str:
    """ISO 8601 with milliseconds and Z, of ms since the epoch."""
    moment = _EPOCH + timedelta(milliseconds=milliseconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
