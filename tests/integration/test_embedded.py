"""The embedded store, with the real server: durable, private, and back after a kill."""

import asyncio
import os
import shutil
import signal
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis

from app.storage.embedded import EmbeddedStore, EmbeddedStoreError

Start = Callable[[Path], tuple[Redis, subprocess.Popen[bytes]]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a server on a data folder; all are killed at the end."""
    started: list[tuple[EmbeddedStore, subprocess.Popen[bytes]]] = []

    def run(data_dir: Path) -> tuple[Redis, subprocess.Popen[bytes]]:
        store = EmbeddedStore.prepare(data_dir)
        process = subprocess.Popen(store.command())
        started.append((store, process))
        asyncio.run(store.wait_until_ready(alive=lambda: process.poll() is None))
        return Redis.from_url(store.url, decode_responses=True), process

    yield run
    for store, process in started:
        process.kill()
        process.wait()
        shutil.rmtree(store.socket.parent, ignore_errors=True)


def test_it_runs_with_the_durability_that_the_service_requires(start: Start, tmp_path: Path) -> None:
    """Flushed before each answer, also during a rewrite; nothing evicted; memory bounded."""
    redis, _ = start(tmp_path)
    wanted = {
        "appendonly": "yes",
        "appendfsync": "always",
        "no-appendfsync-on-rewrite": "no",
        "maxmemory-policy": "noeviction",
        "save": "",
    }
    found = redis.config_get(*wanted, "maxmemory")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < int(found.pop("maxmemory") or 0) <= memory // 2
    assert found == wanted


def test_an_acknowledged_write_survives_a_kill(start: Start, tmp_path: Path) -> None:
    """Killed and started again on the same folder, over its own stale socket, it has everything."""
    redis, process = start(tmp_path)
    redis.set("chips", 1000)
    process.send_signal(signal.SIGKILL)
    process.wait()
    redis, _ = start(tmp_path)
    assert redis.get("chips") == "1000"


@pytest.mark.parametrize("name", ["short", "with space % and # marks", "long" * 40])
def test_any_folder_will_do(start: Start, tmp_path: Path, name: str) -> None:
    """A socket has room for about 100 bytes of path, a data folder may have more."""
    redis, _ = start(tmp_path / name)
    assert redis.ping()
    store = EmbeddedStore.prepare(tmp_path / name)
    assert len(os.fsencode(store.socket)) < 100
    assert [stat.S_IMODE(path.stat().st_mode) for path in (store.folder, store.socket.parent)] == [0o700] * 2
    assert stat.S_IMODE(store.socket.stat().st_mode) == 0o700


def test_a_socket_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """Whoever places a link where the socket is to go must not receive our commands."""
    private = EmbeddedStore.prepare(tmp_path / ("long" * 40)).socket.parent
    private.rmdir()
    private.symlink_to(tmp_path)
    try:
        with pytest.raises(EmbeddedStoreError, match="belongs to somebody else"):
            EmbeddedStore.prepare(tmp_path / ("long" * 40))
    finally:
        private.unlink()


def test_a_server_that_cannot_start_says_why(start: Start, tmp_path: Path) -> None:
    """The end of its log is part of the error."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "appendonlydir").write_text("not a folder")
    with pytest.raises(EmbeddedStoreError, match="appendonlydir"):
        start(tmp_path)


def test_loading_is_waited_for_however_long_it_takes(tmp_path: Path) -> None:
    """A server that reads its data is slow but well; only silence counts against it."""
    store = EmbeddedStore.prepare(tmp_path)
    answers = iter([b"-LOADING\r\n"] * 5 + [b"+PONG\r\n"])

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(next(answers))
        writer.close()

    async def scenario() -> None:
        async with await asyncio.start_unix_server(answer, store.socket):
            await store.wait_until_ready(timeout_seconds=0.05)

    asyncio.run(scenario())
    assert next(answers, None) is None
