"""What an error of redis-py means to us: away (unknown, wait) or refused (wrote nothing, a culprit)."""

from redis import exceptions

from app.services.faults import BalanceFault, StoreRefused, StoreUnavailable

_AWAY = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ReadOnlyError,
    exceptions.OutOfMemoryError,
    exceptions.MasterDownError,
    exceptions.TryAgainError,
    exceptions.AuthenticationError,
    exceptions.NoPermissionError,
    OSError,
)
_AWAY_CODES = ("MISCONF", "NOREPLICAS", "BUSY", "LOADING", "READONLY", "OOM", "Function not found")


def translate(error: Exception) -> BalanceFault:
    """The fault of ours that an error of the client or the server stands for."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, _AWAY) or str(error).startswith(_AWAY_CODES):
        return StoreUnavailable(text)
    return StoreRefused(text)


def is_certain_refusal(error: Exception) -> bool:
    """True when the server itself answered no: the call was received and did nothing."""
    return isinstance(error, exceptions.ResponseError) or str(error).startswith(_AWAY_CODES)
