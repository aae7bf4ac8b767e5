"""Bad input over HTTP, row by row: each is refused by its own code, and no chip moves."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from app.config import Settings
from app.services.tokens import mint
from tests.support.service import RunningService
from tests.support.web import JSON, Answer, ask, balance_of, code_of, opened, settings_of

KEY = ("Idempotency-Key", "k")
LIMIT = 16 * 1024


@pytest.fixture(scope="module")
def alice(service: RunningService) -> Iterator[str]:
    """An account with 100 chips, which it still has when all bad input has been sent."""
    account_id = opened(service, 100)
    yield account_id
    assert balance_of(service, account_id) == 100


def deposit(service: RunningService, account_id: str, raw: bytes, *headers: tuple[str, Any]) -> Answer:
    return ask(
        service,
        f"/api/accounts/{account_id}/deposit",
        service.token,
        "POST",
        raw=raw,
        headers=headers or (JSON, KEY),
    )


def body(**fields: str) -> bytes:
    """A deposit's body, each value as the JSON text given."""
    fields = {"amount": "1", "source": '"s"'} | fields
    return ("{" + ", ".join(f'"{name}": {text}' for name, text in fields.items()) + "}").encode()


BODIES: dict[str, bytes] = {
    "no body": b"",
    "broken": b'{"amount": 1',
    "two values": b'{"amount": 1, "source": "s"} {}',
    "bad UTF-8": b'{"amount": 1, "source": "\xff"}',
    "overlong UTF-8": b'{"amount": 1, "source": "\xc0\xaf"}',
    "UTF-16": '{"amount": 1, "source": "s"}'.encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + body(),
    "single quotes": b"{'amount': 1, 'source': 's'}",
    "a comment": b'{"amount": 1, /* all of it */ "source": "s"}',
    "a last comma": b'{"amount": 1, "source": "s",}',
    "Infinity": body(amount="1", x="Infinity"),
    "NaN in an array": body(x="[NaN]"),
    "duplicate key": b'{"amount": 1, "amount": 2, "source": "s"}',
    "duplicate key, spelled otherwise": b'{"amount": 1, "\\u0061mount": 2, "source": "s"}',
    "unknown field": body(currency='"EUR"'),
    "unknown field that is no text": body(**{"\\ud800": "1"}),
    "array": b"[]",
    "text": b'"amount"',
    "number": b"1",
    "null": b"null",
    "NUL": body(source='"a\\u0000b"'),
    "lone surrogate": body(source='"\\ud83d"'),
    "raw control character": b'{"amount": 1, "source": "a\nb"}',
    "escaped control character": body(source='"a\\nb"'),
    "right-to-left override": body(source='"a\\u202eb"'),
    "too long a text": body(source=f'"{"x" * 256}"'),
    "nested": b'{"amount": ' + b"[" * 8_000 + b"]" * 8_000 + b', "source": "s"}',
    "nested objects": b'{"a":' * 2_500 + b"1" + b"}" * 2_500,
    "nested and never closed": b"[" * LIMIT,
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_is_not_right_is_refused(service: RunningService, alice: str, name: str) -> None:
    """Nothing that one reader could take for something else gets through."""
    answer = deposit(service, alice, BODIES[name])
    assert (answer.status, code_of(answer)) in ((400, "INVALID_REQUEST"), (400, "MISSING_SOURCE"))


AMOUNTS = {
    "fraction": "0.1",
    "float": "1.0",
    "exponent": "1e2",
    "beyond floats": "1e400",
    "true": "true",
    "text": '"1"',
    "null": "null",
    "zero": "0",
    "minus zero": "-0",
    "negative": "-1",
    "beyond the range": str(2**53),
    "2^63": str(2**63),
    "2^64": str(2**64),
    "5,000 digits": "9" * 5_000,
    "minus 5,000 digits": "-" + "9" * 5_000,
    "object": "{}",
    "array": "[1]",
}


@pytest.mark.parametrize("path", ["deposit", "withdraw"])
@pytest.mark.parametrize("name", AMOUNTS)
def test_an_amount_that_is_none_is_named(service: RunningService, alice: str, name: str, path: str) -> None:
    """Chips are whole, and counted in integers that every reader holds."""
    source = b', "source": "s"' if path == "deposit" else b""
    raw = b'{"amount": ' + AMOUNTS[name].encode() + source + b"}"
    target = f"/api/accounts/{alice}/{path}"
    answer = ask(service, target, service.token, "POST", raw=raw, headers=[JSON, KEY])
    assert (answer.status, code_of(answer)) == (400, "INVALID_AMOUNT")
    assert answer.body["message"].startswith("amount must be a whole number from 1 to 9007199254740991")


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "-Infinity"])
def test_what_is_not_json_is_no_amount(service: RunningService, alice: str, amount: str) -> None:
    """Python's reader would take it."""
    answer = deposit(service, alice, body(amount=amount))
    assert (answer.status, code_of(answer)) == (400, "INVALID_REQUEST")


@pytest.mark.parametrize("balance", sorted(AMOUNTS.keys() - {"zero", "minus zero"}))
def test_an_initial_balance_is_an_amount_or_zero(service: RunningService, alice: str, balance: str) -> None:
    """It makes chips as a deposit does."""
    raw = b'{"initialBalance": ' + AMOUNTS[balance].encode() + b"}"
    answer = ask(service, f"/api/accounts/{alice}", service.token, "POST", raw=raw, headers=[JSON])
    assert (answer.status, code_of(answer)) == (400, "INVALID_AMOUNT")
    assert answer.body["message"].startswith("initialBalance ")


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b'{"source": "s"}', "INVALID_AMOUNT"),
        (b'{"amount": 1}', "MISSING_SOURCE"),
        (b'{"amount": 1, "source": ""}', "MISSING_SOURCE"),
        (b'{"amount": 1, "source": null}', "MISSING_SOURCE"),
        (b'{"amount": 1, "source": 1}', "MISSING_SOURCE"),
        (b"{}", "INVALID_AMOUNT"),
    ],
)
def test_a_missing_field_is_named(service: RunningService, alice: str, raw: bytes, code: str) -> None:
    """By a code of its own."""
    answer = deposit(service, alice, raw)
    assert (answer.status, code_of(answer)) == (400, code)
    assert answer.body["message"].split()[0] in ("amount", "source")


def chunks(size: int, count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield b" " * size


def test_a_body_beyond_the_limit_is_refused_while_it_comes(service: RunningService, alice: str) -> None:
    """With its length announced or in chunks; one of exactly the limit is read."""
    just = body().ljust(LIMIT)
    assert code_of(deposit(service, alice, just, JSON)) == "MISSING_IDEMPOTENCY_KEY"
    assert deposit(service, alice, b"{}".ljust(LIMIT)).status == 400
    for raw in (just + b" ", chunks(1_000, 17)):
        answer = ask(
            service,
            f"/api/accounts/{alice}/deposit",
            service.token,
            "POST",
            raw=raw,
            headers=[JSON, KEY],
        )
        assert (answer.status, code_of(answer)) == (413, "PAYLOAD_TOO_LARGE")


def test_a_chunked_body_of_the_right_size_is_taken(service: RunningService) -> None:
    """A length is not needed, only counted."""
    account_id = opened(service)
    path, raw = f"/api/accounts/{account_id}/deposit", iter([b'{"amount": 1,', b' "source": "s"}'])
    answer = ask(service, path, service.token, "POST", raw=raw, headers=[JSON, KEY])
    assert (answer.status, balance_of(service, account_id)) == (200, 1)


MEDIA_TYPES: dict[str, list[tuple[str, str]]] = {
    "none": [],
    "empty": [("Content-Type", "")],
    "form": [("Content-Type", "application/x-www-form-urlencoded")],
    "text": [("Content-Type", "text/plain")],
    "other charset": [("Content-Type", "application/json; charset=latin-1")],
    "other parameter": [("Content-Type", "application/json; version=2")],
    "two types": [("Content-Type", "application/json, text/plain")],
    "a kind of JSON": [("Content-Type", "application/merge-patch+json")],
    "compressed": [JSON, ("Content-Encoding", "gzip")],
}


@pytest.mark.parametrize("name", MEDIA_TYPES)
def test_what_is_not_json_is_not_read(service: RunningService, alice: str, name: str) -> None:
    """Browsers send forms across sites without asking."""
    answer = deposit(service, alice, body(), *MEDIA_TYPES[name], KEY)
    assert (answer.status, code_of(answer)) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize(
    "media_type", ["application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"']
)
def test_json_may_name_its_charset(service: RunningService, media_type: str) -> None:
    """There is but one."""
    answer = deposit(service, opened(service), body(), ("Content-Type", media_type), KEY)
    assert answer.status == 200


@pytest.mark.parametrize(
    "account_id",
    [
        "",
        "a%2Fb",
        "a%2fb",
        "a%20b",
        "a%00b",
        "a%0Ab",
        "a%7Fb",
        "%C3%A9",
        "%ff",
        "x" * 129,
        "$house-1",
        "$alice",
    ],
)
@pytest.mark.parametrize("what", ["balance", "withdraw"])
def test_an_invalid_account_id_is_named(service: RunningService, account_id: str, what: str) -> None:
    """As the caller knows it."""
    method = "POST" if what == "withdraw" else "GET"
    answer = ask(service, f"/api/accounts/{account_id}/{what}", service.token, method)
    assert (answer.status, code_of(answer)) == (400, "INVALID_ACCOUNT_ID")
    assert answer.body["message"].startswith("accountId ")


KEYS: dict[str, tuple[list[tuple[str, Any]], str]] = {
    "missing": ([], "MISSING_IDEMPOTENCY_KEY"),
    "empty": ([("Idempotency-Key", "")], "INVALID_REQUEST"),
    "over 255": ([("Idempotency-Key", "x" * 256)], "INVALID_REQUEST"),
    "not UTF-8": ([("Idempotency-Key", b"a\xff")], "INVALID_REQUEST"),
    "an unprintable character": ([("Idempotency-Key", "a\u200bb".encode())], "INVALID_REQUEST"),
    "sent twice": ([("Idempotency-Key", "a"), ("idempotency-key", "a")], "INVALID_REQUEST"),
}


@pytest.mark.parametrize("what", ["deposit", "withdraw"])
@pytest.mark.parametrize("name", KEYS)
def test_a_key_that_is_none_is_refused(service: RunningService, alice: str, name: str, what: str) -> None:
    """Before the body is looked at."""
    headers, code = KEYS[name]
    path = f"/api/accounts/{alice}/{what}"
    answer = ask(service, path, service.token, "POST", raw=body(), headers=[JSON, *headers])
    assert (answer.status, code_of(answer)) == (400, code)


@pytest.mark.parametrize("header", [b"a\x00b", b"a\x01b", b"a\x7fb"])
def test_a_header_with_a_control_character_is_refused(service: RunningService, header: bytes) -> None:
    """By the server itself, before the application sees it."""
    headers: list[tuple[str, str | bytes]] = [JSON, ("Idempotency-Key", header)]
    answer = ask(service, "/api/accounts/a/deposit", service.token, "POST", raw=body(), headers=headers)
    assert answer.status == 400


def test_a_line_beyond_all_measure_is_refused(service: RunningService) -> None:
    """By the server itself, too."""
    assert ask(service, f"/api/accounts/a/ledger?from={'9' * 5_000}", service.token).status == 414


@pytest.mark.parametrize("key", ["x" * 255, " inner space ", "~!@#$%^&*(),;:'/?[]{}|<>"])
def test_a_key_is_any_printable_text(service: RunningService, key: str) -> None:
    """Up to 255 characters."""
    account_id = opened(service)
    answer = deposit(service, account_id, body(), JSON, ("Idempotency-Key", key))
    assert answer.status == 200


NUMBERS = ["", "x", "-1", "+1", "1.0", "1e1", "0x1", "1_0", "%20%201", "%D9%A1", "9" * 30, "9" * 1_000]


@pytest.mark.parametrize(
    "query",
    [
        *(f"transactions?limit={number}" for number in [*NUMBERS, "0", "201"]),
        *(f"transactions?offset={number}" for number in [*NUMBERS, str(2**53)]),
        *(f"ledger?limit={number}" for number in [*NUMBERS, "0", "201"]),
        "transactions?limit=1&limit=1",
        "transactions?type=deposit",
        "transactions?type=",
        "transactions?colour=red",
        "ledger?offset=1",
        "ledger?from=yesterday",
        "ledger?from=",
        "ledger?from=1700000000000",
        "ledger?from=2026-01-31",
        "ledger?from=2026-01-31T12:00:00",
        "ledger?from=2026-02-30T12:00:00Z",
        "ledger?from=2026-01-31T25:00:00Z",
        "ledger?to=0001-01-01T00:00:00%2B14:00",
        "ledger?to=2026-01-31T12:00:00.1234567Z",
        "ledger?to=%ff",
    ],
)
def test_a_query_that_is_not_right_is_refused(service: RunningService, alice: str, query: str) -> None:
    """A parameter that is not understood is not passed over: the answer would be to another question."""
    answer = ask(service, f"/api/accounts/{alice}/{query}", service.token)
    assert (answer.status, code_of(answer)) == (400, "INVALID_REQUEST")
    assert answer.body["message"].split()[0] in query


ASYMMETRIC = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def signed(secret: str, algorithm: str = "HS256", **changes: Any) -> str:
    now = int(time.time())
    claims = {"sub": "alice", "iat": now, "exp": now + 60, "scope": "balance:service"} | changes
    present = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(present, secret if algorithm != "RS256" else ASYMMETRIC, algorithm=algorithm)


TOKENS: dict[str, Callable[[Settings], str]] = {
    "empty": lambda _: "",
    "nonsense": lambda _: "nonsense",
    "three parts of nonsense": lambda _: "a.b.c",
    "over 8 KiB": lambda settings: mint(settings, "x" * 9_000),
    "alg none": lambda _: signed("", "none"),
    "no exp": lambda settings: signed(str(settings.jwt_hs256_secret), exp=None),
    "no sub": lambda settings: signed(str(settings.jwt_hs256_secret), sub=None),
    "expired": lambda settings: signed(str(settings.jwt_hs256_secret), exp=int(time.time()) - 30),
    "another secret": lambda _: signed("another secret of at least thirty-two bytes"),
    "another family": lambda _: signed("", "RS256"),
    "another algorithm": lambda settings: signed(str(settings.jwt_hs256_secret), "HS512"),
}


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
@pytest.mark.parametrize("name", TOKENS)
def test_a_bad_token_is_none(service: RunningService, alice: str, name: str) -> None:
    """The rest of the ways in which tokens are bad is tested where they are checked."""
    answer = ask(service, f"/api/accounts/{alice}/balance", TOKENS[name](settings_of(service)))
    assert (answer.status, code_of(answer)) == (401, "UNAUTHORIZED")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("header", ["", "Basic YTpi", "Bearer", "bearer", "Token x"])
def test_another_way_to_say_who_one_is_counts_for_nothing(service: RunningService, header: str) -> None:
    """Nor is a token taken from anywhere else."""
    answer = ask(
        service,
        f"/api/accounts/a/balance?access_token={service.token}",
        headers=[("Authorization", header), ("Cookie", f"token={service.token}")],
    )
    assert (answer.status, code_of(answer)) == (401, "UNAUTHORIZED")
