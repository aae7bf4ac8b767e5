"""gunicorn's worker, so stopped that no caller loses a call.

Left to itself gunicorn 27 ends a connection, whose answer just left as one to be kept, without a word, and
resets those that it has not taken yet: requests on them are never looked at.
"""

import socket
from typing import Any

from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.workers.gasgi import ASGIWorker

ANNOUNCED_WITHIN_SECONDS = 0.1  # answers on their way when the stop came are out by then
_CLOSE = (b"connection", b"close")


class CarefulWorker(ASGIWorker):  # type: ignore[misc]
    """From the stop on every answer says that its connection ends with it; a moment later gunicorn stops."""

    stopping = False

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
                lambda: ASGIProtocol(self), connection, ssl=self._get_ssl_context()
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
