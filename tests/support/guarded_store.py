"""A server with the very configuration and users that the project ships, on a folder and port of its own."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from app.storage.embedded import find_binary
from tests.support.ports import free_port
from tests.support.waiting import eventually
from tests.tidy.tree import ROOT

OPS = ROOT / "ops"


class GuardedStore:
    """Reached by its users only; `secrets` is the folder with their passwords."""

    def __init__(self, secrets: Path, port: str) -> None:
        self.secrets = secrets
        self.place = f"127.0.0.1:{port}"

    @property
    def url(self) -> str:
        """For the administrator: what tests look at the store with."""
        return self.url_of("admin")

    def url_of(self, user: str) -> str:
        """Where a process of that user finds it."""
        return (self.secrets / f"{user}.url").read_text()

    def answers(self) -> bool:
        try:
            with Redis.from_url(self.url, socket_timeout=1) as client:
                return bool(client.ping())
        except RedisError:
            return False


@contextmanager
def guarded_store(folder: Path, **options: str) -> Iterator[GuardedStore]:
    """Start the server with the shipped files, as a container would."""
    port, users = free_port(), folder / "users.acl"
    store = GuardedStore(folder / "secrets", port)
    subprocess.run([OPS / "secrets.sh", store.secrets, store.place], check=True)
    make_users = [OPS / "store-users.sh", OPS / "valkey-users.acl", store.secrets]
    users.write_bytes(subprocess.check_output(make_users))
    own = {
        "dir": str(folder),
        "aclfile": str(users),
        "port": port,
        "bind": "127.0.0.1",
        "logfile": str(folder / "valkey.log"),
    }
    words = [word for name, value in (own | options).items() for word in (f"--{name}", value)]
    process = subprocess.Popen([find_binary(), OPS / "valkey.conf", *words])
    try:
        eventually(store.answers)
        yield store
    finally:
        process.kill()
        process.wait()
