"""What an error of redis-py means to us: away (unknown, wait) or refused (wrote nothing, a culprit)."""

from redis import exceptions

from app.services.faults import BalanceFault, StoreRefused, StoreUnavailable

_AWAY = (
    exceptions.ReadOnlyError,
    exceptions.OutOfMemoryError,
    exceptions.MasterDownError,
    exceptions.TryAgainError,
    exceptions.NoPermissionError,
)
_AWAY_CODES = (
    "MISCONF",
    "NOREPLICAS",
    "BUSY",
    "LOADING",
    "READONLY",
    "UNBLOCKED",
    "OOM",
    "Function not found",
)


def translate(error: Exception) -> BalanceFault:
    """The fault of ours that an error of the client or the server stands for.

    Only what the server, or the client before sending, has said no to is refused; the rest is not known.
    """
    text = f"{type(error).__name__}: {error}"
    said_no = isinstance(error, exceptions.ResponseError | exceptions.DataError)
    if not said_no or isinstance(error, _AWAY) or str(error).startswith(_AWAY_CODES):
        return StoreUnavailable(text)
    return StoreRefused(text)


def is_no_primary(reply: Exception) -> bool:
    """True where the server's reply shows that it is a replica now: the primary has to be looked for anew."""
    return isinstance(reply, exceptions.ReadOnlyError) or str(reply).startswith(("READONLY", "UNBLOCKED"))
