"""The whole service as real processes: `balance up --ephemeral`, spoken to by gRPC and HTTP."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any


@dataclass(frozen=True)
class RunningService:
    """Where a running service listens, and the development token it made."""

    grpc: str
    http: str
    metrics: str
    token: str
    data_dir: str
    redis_url: str
    pid: int


@contextmanager
def running_service(stderr: IO[str] | None = None, /, **environ: str) -> Iterator[RunningService]:
    """Start the service on free ports and a throw-away folder; it is stopped, and gone, at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "up", "--ephemeral"],
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=os.environ | {"LOG_LEVEL": "warning"} | environ,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, "the service did not start; its reasons are on standard error"
        ready: dict[str, Any] = json.loads(line)
        yield RunningService(**{name: ready[name] for name in RunningService.__dataclass_fields__})
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=20)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


def balance(service: RunningService, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a `balance` command against the service."""
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *arguments],
        env=os.environ | {"DATA_DIR": service.data_dir},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
