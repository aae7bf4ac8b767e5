"""A primary with replicas and a sentinel: all from the one server binary, on ports of this machine."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from redis import Redis
from redis.exceptions import RedisError

from app.storage.embedded import DURABILITY, find_binary
from tests.support.ports import free_port
from tests.support.waiting import eventually

SERVICE = "chips"
DOWN_AFTER_MS = 1_500  # it looks for a server it has lost once a second: less, and it would see things
FAILOVER_SECONDS = 20.0
PASSWORD, SENTINELS_PASSWORD = "of-the/servers", "of-the@sentinels"
BINARY = str(find_binary())


class Server:
    """One server on a folder and a port of its own, a primary or a replica as it is told."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.port = int(free_port())
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/0"

    def start(self, primary: "Server | None" = None) -> None:
        options = DURABILITY | {
            "dir": str(self.folder),
            "bind": "127.0.0.1",
            "port": str(self.port),
            "maxmemory": str(2**28),
            "requirepass": PASSWORD,
            "masterauth": PASSWORD,
            "repl-diskless-sync-delay": "0",
            "logfile": str(self.folder / "valkey.log"),
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        if primary is not None:
            words += ["--replicaof", "127.0.0.1", str(primary.port)]
        self._process = subprocess.Popen([BINARY, *words])
        eventually(lambda: self.ask("PING"))

    def kill(self) -> None:
        """End it without a chance to say goodbye; its data stays in its folder."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def ask(self, *words: Any) -> Any:
        """The reply to a command, past the service; None where there is none."""
        with suppress(RedisError), Redis.from_url(self.url, socket_timeout=2) as client:
            return client.execute_command(*words)

    def in_sync(self) -> bool:
        """True for a replica that has everything its primary has sent."""
        found = self.ask("INFO", "replication")
        return bool(found) and found["role"] == "slave" and found["master_link_status"] == "up"


class Replicated:
    """Several servers, of which one is the primary, and the sentinel that says which."""

    def __init__(self, folder: Path, replicas: int) -> None:
        self._folder = folder
        self.servers = [Server(folder / f"server-{number}") for number in range(replicas + 1)]
        self.primary = self.servers[0]
        self._port = free_port()
        self._sentinel: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """What REDIS_URL says: the first of the sentinels is never there."""
        server, sentinels = quote(PASSWORD, safe=""), quote(SENTINELS_PASSWORD)
        hosts = f"127.0.0.1:1,127.0.0.1:{self._port}"
        return f"redis+sentinel://:{server}@{hosts}/{SERVICE}/0?sentinel_password={sentinels}"

    @property
    def replicas(self) -> list[Server]:
        return [server for server in self.servers if server is not self.primary]

    def start(self) -> None:
        self.primary.start()
        for server in self.replicas:
            server.start(self.primary)
        config = self._folder / "sentinel.conf"
        config.write_text(
            f"port {self._port}\nbind 127.0.0.1\ndir {self._folder}\nlogfile {self._folder}/sentinel.log\n"
            f"requirepass {SENTINELS_PASSWORD}\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {self.primary.port} 1\n"
            f"sentinel auth-pass {SERVICE} {PASSWORD}\n"
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}\n"
            f"sentinel failover-timeout {SERVICE} 3000\n"
        )
        self._sentinel = subprocess.Popen([BINARY, str(config), "--sentinel"])
        self.until_in_sync()

    def stop(self) -> None:
        if self._sentinel is not None:
            self._sentinel.kill()
            self._sentinel.wait()
        for server in self.servers:
            server.stop()

    def until_in_sync(self) -> None:
        """Wait until every replica follows the primary, and the sentinel knows each of them."""
        eventually(lambda: all(server.in_sync() for server in self.replicas), FAILOVER_SECONDS)
        eventually(self._all_known, FAILOVER_SECONDS)

    def until_promoted(self) -> None:
        """Wait until the sentinel names another primary, which then counts as ours."""
        former = self.primary.port
        port = eventually(lambda: (found := self._named()) != former and found, FAILOVER_SECONDS)
        self.primary = next(server for server in self.servers if server.port == port)
        eventually(lambda: (role := self.primary.ask("ROLE")) and role[0] == b"master", FAILOVER_SECONDS)

    def fail_over(self) -> None:
        """Kill the primary, have a replica promoted, and the dead one follow it."""
        dead = self.primary
        dead.kill()
        self.until_promoted()
        dead.start(self.primary)
        self.until_in_sync()

    def hand_over(self) -> None:
        """Have a replica promoted in good order; the primary lives on, and follows it."""
        with self._asked() as client:
            client.execute_command("SENTINEL", "FAILOVER", SERVICE, "COORDINATED")
        self.until_promoted()
        self.until_in_sync()

    def _named(self) -> int:
        """The port of the primary as the sentinel knows it, 0 when it does not answer."""
        with suppress(RedisError), self._asked() as client:
            return int(client.sentinel_get_master_addr_by_name(SERVICE)[1])
        return 0

    def _all_known(self) -> bool:
        with suppress(RedisError), self._asked() as client:
            known = client.sentinel_slaves(SERVICE)
            up = [each for each in known if each["flags"] == "slave" and each["master-link-status"] == "ok"]
            return {int(each["port"]) for each in up} == {server.port for server in self.replicas}
        return False

    def _asked(self) -> Redis:
        return Redis(
            port=int(self._port), password=SENTINELS_PASSWORD, socket_timeout=2, decode_responses=True
        )


@contextmanager
def replicated(folder: Path, replicas: int = 1) -> Iterator[Replicated]:
    """A running primary with replicas in sync, and its sentinel."""
    found = Replicated(folder / "replicated", replicas)
    try:
        found.start()
        yield found
    finally:
        found.stop()
