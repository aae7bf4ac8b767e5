"""What a caller's certificate proves: which methods its names may call. Whom no row names may call none."""

from collections.abc import Collection, Iterable, Mapping

from app.config import Problem, SettingsError
from app.services.access import SERVICE_SCOPE, Principal

ANY_METHOD = "*"


class CertificateTable:
    """The rows of TLS_CLIENT_METHODS. Raises SettingsError where one names a method that there is not."""

    def __init__(self, rows: Mapping[str, frozenset[str]], methods: Collection[str]) -> None:
        unknown = sorted(frozenset[str]().union(*rows.values()) - {ANY_METHOD, *methods})
        if unknown:
            raise SettingsError(
                [Problem(("TLS_CLIENT_METHODS",), f"there is no method {', '.join(unknown)}")]
            )
        self._rows = rows

    def principal(self, names: Iterable[str], method: str) -> Principal:
        """Whoever has these names: a service where a row of theirs has the method, else without any scope."""
        subject = ""
        for name in names:
            subject = subject or name
            if not self._rows.get(name, frozenset()).isdisjoint((method, ANY_METHOD)):
                return Principal(name, frozenset({SERVICE_SCOPE}))
        return Principal(subject)
