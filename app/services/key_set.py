"""The keys of a key server (JWKS): kept here, refreshed, and looked up by the id that a token names.

Whoever sends tokens must not be able to make this fetch at will, and nobody waits for a key that is known.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWKSet

from app.services.faults import KeysAway

SHORTEST_RSA_KEY_BITS = 2048
REFRESH_SECONDS = 300.0
FETCH_GAP_SECONDS = 30.0
_LONGEST_WAIT_SECONDS = 6.0  # a little more than a fetch may take

Fetch = Callable[[], Awaitable[bytes]]

_log = logging.getLogger(__name__)


class KeySet:
    """The keys that `fetch` last gave; they stay while it fails. At most one fetch in 30 s.

    `now` tells seconds on a clock that never goes back.
    """

    def __init__(self, fetch: Fetch, now: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._now = now
        self._keys: Mapping[str, RSAPublicKey] = {}
        self._current = False  # whether the last fetch has ended well
        self._next_fetch = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, key_id: str) -> RSAPublicKey | None:
        """The key of this id; None where there is none. Raises KeysAway when only the key server knows."""
        if key_id in self._keys:
            return self._keys[key_id]
        await self.refresh()
        if key_id not in self._keys and not self._current:
            raise KeysAway("the key server is away; nothing was done")
        return self._keys.get(key_id)

    async def refresh(self) -> None:
        """Fetch, unless that began within the last 30 s; all who ask meanwhile wait for the same fetch."""
        if self._fetching is None:
            if self._now() < self._next_fetch:
                return
            self._next_fetch = self._now() + FETCH_GAP_SECONDS
            self._current = False
            self._fetching = asyncio.create_task(self._replace_keys())
        # Unlike `wait_for`, it lets the fetch go on when a caller gives up.
        await asyncio.wait([self._fetching], timeout=_LONGEST_WAIT_SECONDS)

    async def keep_fresh(self) -> None:
        """Fetch now and then: every 5 minutes, or every 30 s while the key server is away."""
        while True:
            await self.refresh()
            await asyncio.sleep(REFRESH_SECONDS if self._current else FETCH_GAP_SECONDS)

    async def _replace_keys(self) -> None:
        try:
            self._keys = keys_of(await self._fetch())
            self._current = True
        except Exception as error:
            # Only the kind: an error of the parser quotes the keys.
            _log.warning("JWKS_URL gives no keys (%s); %d known", type(error).__name__, len(self._keys))
        finally:
            self._fetching = None


def keys_of(document: bytes) -> Mapping[str, RSAPublicKey]:
    """The keys of a JWKS document that RS256 tokens may be checked with, by id. Raises when there is none."""
    found = {
        each.key_id: each.key
        for each in PyJWKSet.from_json(document.decode())
        if each.key_id
        and each.public_key_use == "sig"
        and each.algorithm_name == "RS256"
        and isinstance(each.key, RSAPublicKey)
        and each.key.key_size >= SHORTEST_RSA_KEY_BITS
    }
    if not found:
        raise ValueError("no RSA key for signatures of at least 2048 bits")
    return found
