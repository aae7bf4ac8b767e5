"""The processes of a running service, as the system lists them."""

import subprocess
from enum import Enum

from tests.support.service import RunningService


class Kind(Enum):
    """A kind of process, by what its command line contains."""

    WORKER = "workers.main"
    SCHEDULER = "scheduler.main"
    FRONT_END = "app.cli grpc"
    STORE = "unixsocket"


def pids(service: RunningService, kind: Kind) -> list[int]:
    """The service's processes of that kind that are alive."""
    command = ["ps", "-A", "-ww", "-o", "pid=,ppid=,stat=,command="]  # -ww: uncut, however narrow
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = []
    for line in listing.splitlines():
        pid, parent, state, *words = line.split()
        if int(parent) == service.pid and state[0] != "Z" and kind.value in " ".join(words):
            found.append(int(pid))
    return found
