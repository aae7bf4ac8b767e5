"""gunicorn's worker, so stopped that no caller loses a call, and rid of those who connect and ask nothing.

Left to itself gunicorn 27 ends a connection, whose answer just left as one to be kept, without a word, and
resets those that it has not taken yet: requests on them are never looked at. For the first request of a
connection it waits for ever, for each further one as long as `keepalive` says.
"""

import socket
from typing import Any

from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.workers import gasgi

ANNOUNCED_WITHIN_SECONDS = 0.1  # answers on their way when the stop came are out by then
HEAD_WITHIN_SECONDS = (
    8.0  # less than graceful_timeout: such a connection holds up a stop, as an idle one does
)
_CLOSE = (b"connection", b"close")


class ImpatientProtocol(ASGIProtocol):  # type: ignore[misc]
    """Closes a connection whose first request has not come with its whole head in time."""

    def connection_made(self, transport: Any) -> None:
        """Set at once the timer that gunicorn sets between requests, and cancels when a head is there."""
        super().connection_made(transport)
        self._keepalive_handle = self.worker.loop.call_later(
            self.worker.head_within_seconds, self._keepalive_timeout
        )


class CarefulWorker(gasgi.ASGIWorker):  # type: ignore[misc]
    """From the stop on every answer says that its connection ends with it; a moment later gunicorn stops."""

    head_within_seconds = HEAD_WITHIN_SECONDS
    stopping = False

    def init_process(self) -> None:
        """Begin, in a process of its own, with our protocol: gunicorn has no setting for it."""
        gasgi.ASGIProtocol = ImpatientProtocol
        super().init_process()

    def load_wsgi(self) -> None:
        """Load the application, wrapped."""
        super().load_wsgi()
        app = self.asgi  # type: ignore[has-type]

        async def announcing(scope: dict[str, Any], receive: Any, send: Any) -> None:
            async def announce(message: dict[str, Any]) -> None:
                if self.stopping and message["type"] == "http.response.start":
                    message = {**message, "headers": [*message.get("headers", ()), _CLOSE]}
                await send(message)

            await app(scope, receive, announce)

        self.asgi = announcing

    def handle_exit_signal(self) -> None:
        """SIGTERM: announce first."""
        self.stopping = True
        self.loop.call_later(ANNOUNCED_WITHIN_SECONDS, super().handle_exit_signal)

    async def _shutdown(self) -> None:
        """Take whoever is connected already, then stop listening: both at once, without a pause between."""
        late = [connection for listener in self.sockets for connection in _waiting_on(listener.sock)]
        for server in self.servers:
            server.close()
        for connection in late:
            await self.loop.connect_accepted_socket(
                lambda: ImpatientProtocol(self), connection, ssl=self._get_ssl_context()
            )
        await super()._shutdown()


def _waiting_on(listener: socket.socket) -> list[socket.socket]:
    """Connections that nobody has taken yet."""
    waiting = []
    try:
        while True:
            connection, _ = listener.accept()
            connection.setblocking(False)
            waiting.append(connection)
    except (BlockingIOError, OSError):
        return waiting
