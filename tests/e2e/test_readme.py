"""The HTTP examples of the README, run as they are printed against the real service."""

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

from tests.support.service import RunningService, running_service
from tests.tidy.tree import text

PRINTED_ADDRESS = "127.0.0.1:3002"
SECTION = re.compile(r"^## The same over HTTP\n(.*?)^## ", re.DOTALL | re.MULTILINE)
BLOCK = re.compile(r"^```console\n(.*?)^```", re.DOTALL | re.MULTILINE)
# What is another one each time. Their form is checked where they are made.
CHANGING = {
    "timestamp", "transactionId", "createdAt", "completedAt", "requestId", "checksum", "previousChecksum",
    "latestChecksum",
}  # fmt: skip
ROUTES = {
    "health", "ready", "bob", "balance", "deposit", "withdraw", "transactions", "ledger", "reservations",
}  # fmt: skip


def printed() -> list[tuple[str, str]]:
    """Each command of the section with the line that is printed under it, "" where there is none."""
    section = SECTION.search(text("README.md"))
    assert section
    examples: list[tuple[str, str]] = []
    for line in "".join(BLOCK.findall(section[1])).splitlines():
        if line.startswith("$ "):
            examples.append((line.removeprefix("$ "), ""))
        else:
            examples[-1] = (examples[-1][0], line)
    return examples


def settled(answer: Any) -> Any:
    """The answer without what is another one each time."""
    if isinstance(answer, list):
        return [settled(each) for each in answer]
    if isinstance(answer, dict):
        return {name: "" if name in CHANGING else settled(value) for name, value in answer.items()}
    return answer


def run(service: RunningService, commands: list[str], folder: Path) -> list[str]:
    """The lines that the commands print, in one shell, in a folder where `make run` was called."""
    (folder / "var").symlink_to(service.data_dir)
    script = "\n".join(commands).replace(PRINTED_ADDRESS, service.http)
    done = subprocess.run(
        ["/bin/bash", "-euc", script], cwd=folder, capture_output=True, text=True, check=False, timeout=100
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_the_examples_answer_what_is_printed(tmp_path: Path) -> None:
    """On a new service, one after the other, ids and times aside."""
    examples = printed()
    with running_service() as service:
        found = run(service, [command for command, _ in examples], tmp_path)
    wanted = [answer for _, answer in examples if answer]
    assert [settled(json.loads(line)) for line in found] == [settled(json.loads(line)) for line in wanted]


def test_every_route_has_its_example() -> None:
    """Whoever adds one shows how it is called."""
    urls = [word for command, _ in printed() for word in shlex.split(command) if PRINTED_ADDRESS in word]
    assert {url.partition("?")[0].rpartition("/")[2] for url in urls} == ROUTES
