"""What a store is told, as it goes on: its monitor, read by a thread of the test's own."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from app.storage import keys

_SLOT = re.compile(
    rb'^\+(\d+)\.(\d{3})\d* .* "HSET" "%b" "%b" "(\d+)"'
    % (keys.SCHEDULER.encode(), re.escape(keys.slot_field("expire").encode()))
)


class Tap:
    """The lines of a monitor so far."""

    def __init__(self, url: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(urlsplit(url).path)
        self._lines = self._socket.makefile("rb")
        self._socket.sendall(b"MONITOR\r\n")
        self._lines.readline()  # OK: from here on nothing is missed
        self.lines: list[bytes] = []
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        self.lines.extend(self._lines)

    @property
    def slots(self) -> list[int]:
        """The slots marked as done, in the order in which they were."""
        return [int(found[3]) for line in list(self.lines) if (found := _SLOT.match(line))]

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._lines.close()
        self._socket.close()


@contextmanager
def tapping(url: str) -> Iterator[Tap]:
    """A tap that is closed at the end."""
    tap = Tap(url)
    try:
        yield tap
    finally:
        tap.close()
