"""Asks the key server: one GET of one fixed address, bounded in size and time, never redirected."""

import asyncio
import ssl
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from socket import SHUT_RDWR
from urllib.parse import urlsplit

FETCH_SECONDS = 5.0
MOST_BYTES = 256 * 1024


class KeyServer:
    """The server of JWKS_URL. Over https its certificate is checked against the machine's authorities."""

    def __init__(self, url: str, fetch_seconds: float = FETCH_SECONDS) -> None:
        self._url = urlsplit(url)
        self._fetch_seconds = fetch_seconds

    async def fetch(self) -> bytes:
        """The document, read in a thread. Raises OSError or HTTPException."""
        connection = await asyncio.to_thread(self._connection)
        # The connection's own timeout is for each read: a byte now and then would keep it waiting.
        loop = asyncio.get_running_loop()
        end = loop.call_later(self._fetch_seconds, _hang_up, connection)
        try:
            document = await asyncio.to_thread(self._ask, connection)
        finally:
            end.cancel()
        if loop.time() >= end.when():
            raise TimeoutError("the answer took too long; what came of it may be cut off")
        return document

    def _connection(self) -> HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        if self._url.scheme == "https":
            context = ssl.create_default_context()
            return HTTPSConnection(host, port, timeout=self._fetch_seconds, context=context)
        return HTTPConnection(host, port, timeout=self._fetch_seconds)

    def _ask(self, connection: HTTPConnection) -> bytes:
        path = f"{self._url.path or '/'}{'?' if self._url.query else ''}{self._url.query}"
        try:
            connection.request("GET", path, headers={"Accept": "application/json"})
            response = connection.getresponse()
            if response.status != HTTPStatus.OK:
                raise HTTPException(f"answers {response.status}")
            document = response.read(MOST_BYTES + 1)
        finally:
            connection.close()
        if len(document) > MOST_BYTES:
            raise HTTPException(f"answers more than {MOST_BYTES} bytes")
        return document


def _hang_up(connection: HTTPConnection) -> None:
    with suppress(OSError):
        if connection.sock is not None:
            connection.sock.shutdown(SHUT_RDWR)
