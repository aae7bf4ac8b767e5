"""Gateways: HTTP callers before several front ends, who go to the next one where a call is turned away."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from itertools import count

from tests.support.tokens import signed

PAUSE_SECONDS = 0.02
TIMEOUT_SECONDS = 10.0


@dataclass
class Gateways:
    """What they know: the ports to go to, and, of each account, how many deposits of 1 were answered.

    `refused_ms` is the longest between the first and the last refusal of one call.
    """

    ports: list[str] = field(default_factory=list)
    deposits: dict[str, int] = field(default_factory=dict)
    refused_ms: float = 0.0
    odd: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def call_again_and_again(self, account_id: str) -> None:
        """Deposit after deposit, each with a key of its own, each asked for until it is answered."""
        for number in count():
            if self.over.is_set():
                return
            first = last = 0.0
            while not self._deposit(account_id, f"key-{number}"):
                last = time.monotonic()
                first = first or last
                time.sleep(PAUSE_SECONDS)
            self.refused_ms = max(self.refused_ms, (last - first) * 1_000)
            self.deposits[account_id] = number + 1

    def _deposit(self, account_id: str, key: str) -> bool:
        """True when it is answered by any of the front ends."""
        return any(self._ask(port, account_id, key) for port in list(self.ports))

    def _ask(self, port: str, account_id: str, key: str) -> bool:
        connection = HTTPConnection(f"127.0.0.1:{port}", timeout=TIMEOUT_SECONDS)
        headers = {
            "Authorization": f"Bearer {signed(sub='gateway', scope='balance:service')}",
            "Content-Type": "application/json",
            "Idempotency-Key": key,
        }
        body = json.dumps({"amount": 1, "source": "gateway"})
        try:
            connection.request("POST", f"/api/accounts/{account_id}/deposit", body, headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()
        if answer.status not in {200, 503}:
            self.odd.append(f"{account_id} {key}: {answer.status}")
        return answer.status == 200


@contextmanager
def gateways(ports: list[str], callers: int) -> Iterator[Gateways]:
    """Let so many call while the block runs."""
    found = Gateways(ports)
    threads = [
        threading.Thread(target=found.call_again_and_again, args=[f"gateway-{number}"])
        for number in range(callers)
    ]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        found.over.set()
        for thread in threads:
            thread.join()
