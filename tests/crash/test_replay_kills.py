"""Workers and front ends are killed while ops replay: every parked command has its one effect."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from random import Random

import pytest

from tests.support.operations import Operated, operated
from tests.support.telling import Tell
from tests.support.waiting import LOOK_EVERY_SECONDS
from tests.support.web import ask, post

NEVER_STOPS = {"FAULT_LIMIT_PERCENT": "100"}
KILL_WITHIN_SECONDS = 0.2
PATIENCE_SECONDS = 600
SOAK = [pytest.mark.soak, pytest.mark.timeout(900)]


@pytest.mark.parametrize("letters", [16, pytest.param(1_000, marks=SOAK)])
def test_replays_under_fire_apply_each_command_once(
    tmp_path: Path, letters: int, seed: int, tell: Tell
) -> None:
    """
    Given deposits that broken code has parked
    If ops replay them all, again and again, while workers are killed, and the front end once
    Expect each account to have its deposit once, no letter left, and the ops log's chain unbroken.
    """
    accounts = [f"account-{number}" for number in range(letters)]
    with operated(tmp_path) as service:
        broken = service.broken_worker(*accounts, **NEVER_STOPS)
        service.until_ready()
        with ThreadPoolExecutor(8) as callers:
            answers = list(callers.map(lambda each: service.deposit(each, "k").status, accounts))
        assert answers == [500] * letters
        broken.stop()
        applied = threading.Event()
        with _under_fire(service, applied, Random(seed)) as kills:
            rounds = _replay_until_none_is_left(service, applied, chunk=max(letters // 40, 4))
        service.until_ready()
        assert [service.balance_of(each) for each in accounts] == [10] * letters
        assert service.look("log/verification")["ok"]
        assert service.deployed.verify().returncode == 0
    tell("replays under fire", {"dead letters": letters, "rounds": rounds, "kills": len(kills)})


@contextmanager
def _under_fire(service: Operated, applied: threading.Event, rng: Random) -> Iterator[list[str]]:
    """Two workers, of which one is killed soon after something was applied, and replaced; the front end once.

    Whoever is shot at without a pause never begins, on a machine that has more to do.
    """
    workers = [service.deployed.worker(), service.deployed.worker()]
    over = threading.Event()
    kills: list[str] = []

    def fire() -> None:
        while not over.is_set():
            if not applied.wait(LOOK_EVERY_SECONDS):
                continue
            over.wait(rng.uniform(0, KILL_WITHIN_SECONDS))
            applied.clear()
            if len(kills) == 1:
                service.front_end.kill()
                service.front_end = service.begin_http()
                kills.append("front end")
                continue
            victim = rng.randrange(len(workers))
            workers[victim].kill()
            workers[victim] = service.deployed.worker()
            kills.append("worker")

    shooter = threading.Thread(target=fire)
    shooter.start()
    try:
        yield kills
    finally:
        over.set()
        shooter.join()


def _replay_until_none_is_left(service: Operated, applied: threading.Event, chunk: int) -> int:
    """What ops do who do not know what became of their last try: look, and ask again."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    rounds = 0
    while time.monotonic() < deadline:
        time.sleep(LOOK_EVERY_SECONDS)
        with suppress(OSError, HTTPException):
            found = ask(service.service, "/api/ops/dead-letters?limit=200", service.olga)
            if found.status != HTTPStatus.OK:
                continue
            ids = [each["deadLetterId"] for each in found.body["deadLetters"]]
            if not ids:
                return rounds
            rounds += 1
            for first in range(0, len(ids), chunk):
                body = {"reason": "mended", "ids": ids[first : first + chunk]}
                answer = post(service.service, "/api/ops/dead-letters/replay", body, token=service.olga)
                if answer.status == HTTPStatus.OK and any(
                    each["result"] == "APPLIED" for each in answer.body["results"]
                ):
                    applied.set()
    raise AssertionError("letters are left")
