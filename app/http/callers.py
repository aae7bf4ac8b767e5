"""Who calls, by their tokens. A token is proven once a second, not with every call of a gateway."""

import time

from app.services.access import Principal
from app.services.tokens import TokenVerifier

REMEMBERED_SECONDS = 1.0
MAX_REMEMBERED = 10_000


class Callers:
    """Remembers whom a token proved; never that it proved nobody.

    A token counts for at most a second longer than its `exp` and the leeway say.
    """

    def __init__(self, verifier: TokenVerifier) -> None:
        self._verifier = verifier
        self._proven: dict[str, Principal] = {}
        self._until = 0.0

    async def identify(self, authorization: str | None) -> Principal:
        """The caller whom this Authorization value proves; raises Unauthenticated."""
        now = time.monotonic()
        if now >= self._until or len(self._proven) >= MAX_REMEMBERED:
            self._proven.clear()
            self._until = now + REMEMBERED_SECONDS
        principal = self._proven.get(authorization or "")
        if principal is None:
            principal = await self._verifier.verify(authorization)
            self._proven[authorization or ""] = principal
        return principal
