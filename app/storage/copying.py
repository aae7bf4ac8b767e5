"""Copies of a whole store: taken as a replica would take them, and laid out for a server to start with.

A copy is one moment of the store: records, queues and functions. It holds no password and starts nothing.
"""

import os
from collections.abc import Iterator
from hashlib import file_digest
from pathlib import Path
from typing import Any

import msgspec
from redis import ConnectionPool

from app.services.faults import StoreUnavailable
from app.storage import keys
from app.storage.backends.errors import translate
from app.storage.backends.primary import Primary
from app.storage.backends.valkey import connection_options
from app.storage.fitness import Caller

COPY_FILE = "store.rdb"
MANIFEST_FILE = "manifest.json"
COPY_SECONDS = 60.0
"""A server that sends nothing for so long, not even that it is still preparing, is given up."""

_CHUNK = 1 << 20
_AOF_FOLDER = "appendonlydir"
_AOF_BASE = "appendonly.aof.1.base.rdb"
_AOF_MANIFEST = "appendonly.aof.manifest"


class Manifest(msgspec.Struct, rename="camel", frozen=True):
    """What a copy is of. `commits` is the counter when it was begun: the copy has at least these."""

    v: int
    store_id: str
    layout: str
    partitions: int
    commits: int
    taken_at: str
    bytes: int
    sha256: str


class BadCopyError(Exception):
    """A copy cannot be used; the message says why."""


def identity(caller: Caller) -> tuple[str, str, int, int]:
    """Store id, layout, number of partitions, commit counter; raises BadCopyError where there is no store."""
    found = caller.call("HMGET", keys.META, "storeId", "layout", "partitions", "commits")
    if None in found[:3]:
        raise BadCopyError("there are no accounts: the store was never used by the service")
    store_id, layout, partitions, commits = (value.decode() if value else "0" for value in found)
    return store_id, layout, int(partitions), int(commits)


def copy_store(url: str, target: Path) -> None:
    """Write the server's present state to a new file, which is on disk when this returns.

    Raises StoreUnavailable or StoreRefused; the file is then not complete.
    """
    primary = Primary(url, connection_options())
    pool = ConnectionPool.from_url(primary.url, **connection_options() | {"socket_timeout": COPY_SECONDS})
    connection: Any = pool.make_connection()
    try:
        if primary.moves:
            connection.host, connection.port = primary.locate()
        connection.connect()
        connection.send_command("REPLCONF", "rdb-only", "1")
        connection.read_response()
        with target.open("xb") as file:
            for chunk in _synchronized(connection._sock):  # noqa: SLF001 - no reply of the protocol: a file
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
    except Exception as error:
        raise translate(error) from error
    finally:
        connection.disconnect()


def check_file(folder: Path) -> Manifest:
    """The manifest of a copy whose file is as it was taken; raises BadCopyError where it is not."""
    try:
        manifest = msgspec.json.decode((folder / MANIFEST_FILE).read_bytes(), type=Manifest)
        found = digest_of(folder / COPY_FILE)
    except (OSError, msgspec.MsgspecError) as error:
        raise BadCopyError(f"{folder} holds no backup: {error}") from error
    if found != manifest.sha256:
        raise BadCopyError(f"{folder / COPY_FILE} is not what was taken: its SHA-256 is {found}")
    return manifest


def lay_out(copy: Path, folder: Path) -> None:
    """Make a server's empty folder one from which it starts with the copy; the list of files comes last."""
    aof = folder / _AOF_FOLDER
    aof.mkdir(mode=0o700)
    with copy.open("rb") as source, (aof / _AOF_BASE).open("xb") as base:
        while chunk := source.read(_CHUNK):
            base.write(chunk)
        os.fsync(base.fileno())
    with (aof / _AOF_MANIFEST).open("x") as manifest:
        manifest.write(f"file {_AOF_BASE} seq 1 type b\n")
        manifest.flush()
        os.fsync(manifest.fileno())


def digest_of(path: Path) -> str:
    """SHA-256, hex, of a file."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _synchronized(server: Any) -> Iterator[bytes]:
    """The state that the server sends to a new replica: `$LENGTH` and so many bytes, after empty lines."""
    server.sendall(b"SYNC\r\n")
    with server.makefile("rb") as stream:
        line = b"\n"
        while line == b"\n":
            line = stream.readline()
        if not line.startswith(b"$") or not line[1:].strip().isdigit():
            raise StoreUnavailable(f"the server gives no copy: {line.decode(errors='replace').strip()}")
        left = int(line[1:])
        while left:
            chunk = stream.read(min(left, _CHUNK))
            if not chunk:
                raise ConnectionError(f"{left} bytes before the end")
            left -= len(chunk)
            yield chunk
