"""Which server is the primary: the one in the URL, or the one that sentinels name whenever we connect."""

from collections import deque
from contextlib import closing
from typing import Any

from redis import ConnectionPool

from app.config.store_url import parse_store_url

SENTINEL_SECONDS = 0.5
"""A sentinel that takes longer is passed over: the next one is asked."""

PRIMARY = b"master"
"""How a primary begins its reply to ROLE."""

Place = tuple[str, int]


class Primary:
    """Where to connect to. `url` is for the server; its host stands for nobody where sentinels are asked."""

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        found = parse_store_url(url)
        self.url = found.server
        self._service = found.service
        self._sentinels = deque(found.sentinels)
        self._options = options | {
            "socket_timeout": SENTINEL_SECONDS,
            "socket_connect_timeout": SENTINEL_SECONDS,
        }

    @property
    def moves(self) -> bool:
        """True where the primary can become another server."""
        return bool(self._sentinels)

    def locate(self) -> Place:
        """Host and port of the primary as the first sentinel that answers knows it. It blocks.

        Raises ConnectionError when none knows.
        """
        reasons = []
        for _ in range(len(self._sentinels)):
            try:
                host, port = self._ask(self._sentinels[0])
                return host.decode(), int(port)
            except Exception as error:  # whatever is wrong with this one: the next may know
                reasons.append(f"{type(error).__name__}: {error}")
                self._sentinels.rotate(-1)
        raise ConnectionError(f"no sentinel knows the primary of {self._service}: {'; '.join(reasons)}")

    def _ask(self, sentinel: str) -> tuple[bytes, bytes]:
        pool = ConnectionPool.from_url(sentinel, **self._options)
        with closing(pool):
            connection = pool.make_connection()
            try:
                connection.send_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
                reply: tuple[bytes, bytes] | None = connection.read_response()
            finally:
                connection.disconnect()
        if reply is None:
            raise ConnectionError("it does not know that service")
        return reply


def require_primary(role: Any) -> None:
    """Raise ConnectionError unless the reply to ROLE is a primary's: a sentinel may not know better yet."""
    if role[0] != PRIMARY:
        raise ConnectionError(f"the server is no primary but a {role[0].decode()}")
