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
USERS = ("frontend", "worker", "scheduler", "auditor", "admin")


class GuardedStore:
    """Reached by its users only."""

    def __init__(self, port: str) -> None:
        self._port = port

    @property
    def url(self) -> str:
        """For the administrator: what tests look at the store with."""
        return self.url_of("admin")

    def url_of(self, user: str) -> str:
        """Where a process of that user finds it."""
        return f"redis://{user}:{password_of(user)}@127.0.0.1:{self._port}/0"

    def answers(self) -> bool:
        try:
            with Redis.from_url(self.url, socket_timeout=1) as client:
                return bool(client.ping())
        except RedisError:
            return False


def password_of(user: str) -> str:
    return f"the secret of {user}".replace(" ", "-")


@contextmanager
def guarded_store(folder: Path, **options: str) -> Iterator[GuardedStore]:
    """Start the server with the shipped files, as a container would."""
    store, secrets = GuardedStore(port := free_port()), folder / "secrets"
    secrets.mkdir()
    for user in USERS:
        (secrets / user).write_text(f"{password_of(user)}\n")
    users = folder / "users.acl"
    users.write_bytes(subprocess.check_output([OPS / "store-users.sh", OPS / "valkey-users.acl", secrets]))
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
