"""Random calls for HTTP and gRPC, most of them damaged: seeded, so that what was found is found again."""

import json
from random import Random
from typing import Any, NamedTuple

from google.protobuf.message import Message

from app.rpc.gen import balance_pb2 as pb
from tests.support.service import RunningService

LARGEST = 2**53 - 1
ACCOUNTS = [f"fuzz-{n}" for n in range(4)]
SHARE_INTACT = 0.5
AMOUNTS: list[object] = [1, 2, 7, 100, LARGEST, 0, -1, LARGEST + 1, 2**63, 1.0, 0.5, True, None, "1", [], {}]
TEXTS = [
    "",
    "s",
    "BONUS",
    "é",
    "\x00",
    "\n",
    "\u202e",
    "x" * 256,
    "x" * 9_000,
    "../../etc/passwd",
    "' OR 1=1",
]
PIECES = [
    *(
        b"",
        b"\x00",
        b"\xff\xfe",
        b"\r\n",
        b"\r\n\r\n",
        b"%00",
        b"%2f",
        b"..",
        b"{",
        b"[" * 3_000,
        b'"',
        b"\\u",
    ),
    *(b"\\ud800", b"NaN", b"1e400", b"-1", b"9" * 400, b"9007199254740992", b"null", b"true", b",", b":"),
    *(
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Expect: 100-continue\r\n",
        b"$house-001",
    ),
    *(b"Idempotency-Key: k\r\n", b"Upgrade: websocket\r\nConnection: Upgrade\r\n", b"HTTP/2", b"PUT ", b"\t"),
]


class GrpcCall(NamedTuple):
    """Bytes for a method; `answer` reads what comes back."""

    method: str
    raw: bytes
    answer: type[Message]


class Fuzzer:
    """Makes the calls of one run against one service."""

    def __init__(self, seed: int, service: RunningService) -> None:
        self._random = Random(seed)
        self._service = service

    def http(self) -> bytes:
        """One request as it goes over the wire."""
        random = self._random
        method, path, body = self._operation()
        raw = b"" if body is None else json.dumps(body).encode()
        if random.random() > SHARE_INTACT and raw:
            raw = self._damaged(raw)
        lines = [f"{method} {path} HTTP/1.1", "Host: balance", f"Content-Length: {len(raw)}"]
        if random.random() < 0.95:
            lines.append(f"Authorization: Bearer {self._service.token}")
        if random.random() < 0.95:
            lines.append(f"Idempotency-Key: {self._key()}")
        if random.random() < 0.95:
            lines.append("Content-Type: application/json")
        head = "\r\n".join([*lines, "", ""]).encode()
        return (head if random.random() < 0.7 else self._damaged(head)) + raw

    def grpc(self) -> GrpcCall:
        """One call of a method that exists."""
        random, account_id = self._random, self._random.choice(ACCOUNTS)
        amount = random.choice([1, 5, 100, 10**7, LARGEST, 0, -1, 2**63 - 1])
        table: dict[str, Any] = {
            "account_id": account_id,
            "table_id": "t",
            "amount": amount,
            "idempotency_key": self._key(),
        }
        reservation_id = "003-" + "".join(random.choices("abc234", k=26))
        request, answer = random.choice(
            [
                (pb.GetBalanceRequest(account_id=account_id), pb.GetBalanceResponse),
                (pb.EnsureAccountRequest(account_id=self._text()[:9]), pb.EnsureAccountResponse),
                (
                    pb.DepositRequest(account_id=account_id, amount=amount, idempotency_key=self._key()),
                    pb.DepositResponse,
                ),
                (
                    pb.WithdrawRequest(account_id=account_id, amount=amount, idempotency_key=self._key()),
                    pb.WithdrawResponse,
                ),
                (pb.ReserveForBuyInRequest(**table), pb.ReserveForBuyInResponse),
                (pb.CommitReservationRequest(reservation_id=reservation_id), pb.CommitReservationResponse),
                (pb.ReleaseReservationRequest(reservation_id=reservation_id), pb.ReleaseReservationResponse),
                (pb.ProcessCashOutRequest(**table, hand_id=self._text()[:9]), pb.ProcessCashOutResponse),
                (pb.SettlePotRequest(table_id="t", hand_id=self._key()), pb.SettlePotResponse),
                (pb.CancelPotRequest(table_id="t", hand_id=self._key()), pb.CancelPotResponse),
            ]
        )
        raw = request.SerializeToString()
        raw = raw if random.random() < SHARE_INTACT else self._damaged(raw)
        name = type(request).__name__.removesuffix("Request")
        return GrpcCall(f"/balance.BalanceService/{name}", raw, answer)

    def _operation(self) -> tuple[str, str, object]:
        random = self._random
        account = f"/api/accounts/{random.choice(ACCOUNTS)}"
        amount = random.choice(AMOUNTS) if random.random() < 0.5 else random.randint(1, 500)
        choices: list[tuple[str, str, object]] = [
            ("GET", f"{account}/balance", None),
            (
                "GET",
                f"{account}/transactions?limit={random.randint(-5, 300)}&offset={random.randint(0, 9)}",
                None,
            ),
            ("GET", f"{account}/ledger?from=2026-01-01T00:00:00Z&limit={random.randint(1, 5)}", None),
            ("GET", f"{account}/reservations", None),
            ("GET", f"/api/transactions/{random.choice(['x', '001-' + 'a' * 26])}", None),
            ("GET", "/api/health", None),
            ("POST", account, {"initialBalance": amount}),
            ("POST", f"{account}/deposit", {"amount": amount, "source": self._text()}),
            ("POST", f"{account}/deposit", {"amount": amount, "source": "s"}),
            ("POST", f"{account}/withdraw", {"amount": amount}),
            ("POST", f"{account}/withdraw", {"amount": amount, "reason": self._text()}),
        ]
        return random.choice(choices)

    def _key(self) -> str:
        return f"k{self._random.randrange(40 if self._random.random() < 0.2 else 10**9)}"

    def _text(self) -> str:
        return self._random.choice(TEXTS)

    def _damaged(self, raw: bytes) -> bytes:
        random, damaged = self._random, bytearray(raw)
        for _ in range(random.randint(1, 3)):
            place = random.randint(0, len(damaged))
            match random.randrange(5):
                case 0 if place < len(damaged):
                    damaged[place] ^= 1 << random.randrange(8)
                case 1:
                    del damaged[place : place + random.randint(1, 9)]
                case 2:
                    damaged[place:place] = random.choice(PIECES)
                case 3:
                    damaged[place:place] = damaged[place : place + random.randint(1, 30)]
                case _:
                    damaged[place : place + 1] = random.randbytes(random.randint(1, 3))
        return bytes(damaged)
