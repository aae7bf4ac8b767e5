"""Keeps the keys that tokens are checked with fresh, from the start of a process to its end."""

import asyncio
from typing import Any

from app.services.tokens import TokenVerifier


class FreshKeys:
    """Fetches the keys of a key server before anyone asks; without one it has nothing to do."""

    def __init__(self, verifier: TokenVerifier) -> None:
        self._verifier = verifier

    async def process_startup(self, _scope: dict[str, Any], _event: dict[str, Any]) -> None:
        self._refreshing = asyncio.create_task(self._verifier.keep_fresh())

    async def process_shutdown(self, _scope: dict[str, Any], _event: dict[str, Any]) -> None:
        self._refreshing.cancel()
