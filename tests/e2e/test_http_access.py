"""Who may call which route: every role by every route, on their own account, another's, and the house's."""

import json
from collections.abc import Callable
from itertools import product
from uuid import uuid4

import falcon.inspect
import pytest

from app.config import Settings
from app.http.api import create_app
from app.services.front_end import FrontEnd
from app.services.tokens import mint
from tests.support.service import RunningService
from tests.support.web import JSON, ask, code_of, opened, post, settings_of

ROLES: dict[str, Callable[[Settings, str], str | None]] = {
    "nobody": lambda _settings, _own: None,
    "player": mint,
    "service": lambda settings, own: mint(settings, own, ["balance:service"]),
    "ops": lambda settings, own: mint(settings, own, ["balance:ops"]),
    "both": lambda settings, own: mint(settings, own, ["balance:service", "balance:ops"]),
}
WHOSE = ("own", "other", "house")

Row = dict[str, tuple[int, int, int]]
ANYONE: Row = dict.fromkeys(ROLES, (200, 200, 200))
NOBODY = (401, 401, 401)
# What each role is answered for its own account, another player's, and the house's.
READ: Row = {
    "nobody": NOBODY,
    "player": (200, 403, 403),
    "service": (200, 200, 403),
    "ops": (200, 403, 404),
    "both": (200, 200, 404),
}
MAKE_CHIPS: Row = {
    "nobody": NOBODY,
    "player": (403, 403, 400),
    "service": (200, 200, 400),
    "ops": (403, 403, 400),
    "both": (200, 200, 400),
}
OPENING: Row = MAKE_CHIPS | {"player": (200, 403, 400), "ops": (200, 403, 400)}
TAKEN: Row = {
    "nobody": NOBODY,
    "player": (403, 403, 403),
    "service": (202, 202, 202),
    "ops": (403, 403, 403),
    "both": (202, 202, 202),
}
SERVICES: Row = {
    "nobody": NOBODY,
    "player": (403, 403, 403),
    "service": (200, 200, 200),
    "ops": (403, 403, 403),
    "both": (200, 200, 200),
}
OPS: Row = {
    "nobody": NOBODY,
    "player": (403, 403, 403),
    "service": (403, 403, 403),
    "ops": (200, 200, 200),
    "both": (200, 200, 200),
}
OPS_ON_ACCOUNT: Row = {
    role: (*answers[:2], 401 if role == "nobody" else 400) for role, answers in OPS.items()
}
ACCOUNT = "/api/accounts/{account_id}"
OPS_ACCOUNT, OPS_TABLE = "/api/ops/accounts/{account_id}", "/api/ops/tables/{table_id}"
ACCESS: dict[tuple[str, str], Row] = {
    ("GET", "/api/health"): ANYONE,
    ("GET", "/api/ready"): ANYONE,
    ("POST", ACCOUNT): OPENING,
    ("GET", f"{ACCOUNT}/balance"): READ,
    ("POST", f"{ACCOUNT}/deposit"): MAKE_CHIPS,
    ("POST", f"{ACCOUNT}/withdraw"): READ,
    ("GET", f"{ACCOUNT}/transactions"): READ,
    ("GET", f"{ACCOUNT}/transactions/{{transaction_id}}"): READ,
    ("GET", f"{ACCOUNT}/ledger"): READ,
    ("GET", f"{ACCOUNT}/reservations"): READ,
    ("GET", "/api/transactions/{transaction_id}"): SERVICES,
    ("POST", "/api/commands"): TAKEN,
    ("GET", "/api/commands/{command_id}"): SERVICES,
    ("POST", "/api/batches"): TAKEN,
    ("GET", "/api/batches/{batch_id}"): SERVICES,
    ("GET", "/api/batches/{batch_id}/items"): SERVICES,
    ("POST", "/api/batches/{batch_id}/cancel"): SERVICES,
    ("GET", "/api/ops/status"): OPS,
    ("POST", "/api/ops/pause"): OPS,
    ("POST", "/api/ops/resume"): OPS,
    ("POST", "/api/ops/stops/clear"): OPS,
    ("GET", "/api/ops/dead-letters"): OPS,
    ("GET", "/api/ops/dead-letters/{dead_letter_id}"): OPS | dict.fromkeys(("ops", "both"), (404, 404, 404)),
    ("POST", "/api/ops/dead-letters/replay"): OPS,
    ("POST", "/api/ops/dead-letters/resolve"): OPS,
    ("GET", "/api/ops/accounts"): OPS,
    ("POST", f"{OPS_ACCOUNT}/freeze"): OPS_ON_ACCOUNT,
    ("POST", f"{OPS_ACCOUNT}/unfreeze"): OPS_ON_ACCOUNT,
    ("POST", f"{OPS_ACCOUNT}/adjust"): OPS_ON_ACCOUNT,
    ("POST", f"{OPS_TABLE}/pots/{{hand_id}}/cancel"): OPS,
    ("POST", f"{OPS_TABLE}/close"): OPS,
    ("GET", "/api/ops/house"): OPS,
    ("GET", "/api/ops/log"): OPS,
    ("GET", "/api/ops/log/verification"): OPS,
    ("GET", "/api/openapi.json"): ANYONE,
    ("GET", "/api/docs"): ANYONE,
    ("GET", "/api/docs/{name}"): ANYONE,
}
DRY = {"reason": "r", "dryRun": True}
BODIES: dict[str, object] = {
    ACCOUNT: {},
    f"{ACCOUNT}/deposit": {"amount": 1, "source": "s"},
    f"{ACCOUNT}/withdraw": {"amount": 1},
    "/api/commands": {"operation": "Payout", "accountId": "access", "amount": 1},
    "/api/batches": {"account": "access", "amount": 1},
    # Of ops only what they would do: other tests share this service.
    "/api/ops/pause": DRY,
    "/api/ops/resume": DRY,
    "/api/ops/stops/clear": DRY,
    f"{OPS_ACCOUNT}/freeze": DRY,
    f"{OPS_ACCOUNT}/unfreeze": DRY,
    f"{OPS_TABLE}/pots/{{hand_id}}/cancel": DRY,
    f"{OPS_TABLE}/close": DRY,
    "/api/ops/dead-letters/replay": DRY | {"ids": ["007-i-1-0-0"]},
    "/api/ops/dead-letters/resolve": DRY | {"ids": ["007-i-1-0-0"]},
}
LINES = ("Content-Type", "application/x-ndjson")
CODES = {400: "INVALID_ACCOUNT_ID", 401: "UNAUTHORIZED", 403: "FORBIDDEN"}


def test_every_route_has_its_row() -> None:
    """A new route or method without a row in the table above fails here."""

    async def never() -> FrontEnd:
        raise AssertionError("the app is only looked at")

    routes = falcon.inspect.inspect_routes(create_app(Settings(), never))
    found = {
        (method.method, route.path) for route in routes for method in route.methods if not method.internal
    }
    assert found == set(ACCESS)


@pytest.fixture(scope="module")
def accounts(service: RunningService) -> dict[str, str]:
    """An account of the caller's own and another's, with chips; and the house's, which is never there."""
    return {"own": opened(service, 100), "other": opened(service, 100), "house": "$house-999"}


@pytest.fixture(scope="module")
def transactions(service: RunningService, accounts: dict[str, str]) -> dict[str, str]:
    """One transaction of each account, where it can have one."""
    made = {}
    for whose in ("own", "other"):
        deposit = {"amount": 1, "source": "s"}
        made[whose] = post(service, f"/api/accounts/{accounts[whose]}/deposit", deposit).body["transactionId"]
    return made | {"house": made["own"]}


@pytest.fixture(scope="module")
def jobs(service: RunningService) -> dict[str, str]:
    """A command and a batch that somebody has submitted."""
    taken = [
        ask(
            service,
            path,
            service.token,
            "POST",
            raw=json.dumps(BODIES[path]).encode(),
            headers=[media, ("Idempotency-Key", "access")],
        ).body
        for path, media in (("/api/commands", JSON), ("/api/batches", LINES))
    ]
    return {"command_id": taken[0]["commandId"], "batch_id": taken[1]["batchId"]}


@pytest.mark.parametrize(("route", "role", "whose"), list(product(ACCESS, ROLES, WHOSE)))
def test_each_role_may_do_exactly_this(
    service: RunningService,
    accounts: dict[str, str],
    transactions: dict[str, str],
    jobs: dict[str, str],
    route: tuple[str, str],
    role: str,
    whose: str,
) -> None:
    """Players their own, services any player's, ops the house's."""
    method, path = route
    filled = path.format(
        account_id=accounts[whose],
        transaction_id=transactions[whose],
        name="swagger-ui.css",
        dead_letter_id="007-i-1-0-0",
        table_id="nobody-sits-here",
        hand_id="none",
        **jobs,
    )
    adjustment = DRY | {"change": 1, "corrects": transactions[whose]}
    bodies = BODIES | {f"{OPS_ACCOUNT}/adjust": adjustment}
    body = [json.dumps(bodies[path]).encode()] if path in bodies else []
    answer = ask(
        service,
        filled,
        ROLES[role](settings_of(service), accounts["own"]),
        method,
        raw=body[0] if body else None,
        headers=[LINES if path == "/api/batches" else JSON, ("Idempotency-Key", uuid4().hex)] if body else [],
    )
    assert answer.status == ACCESS[route][role][WHOSE.index(whose)], answer
    if answer.status in CODES:
        assert code_of(answer) == CODES[answer.status]
        assert (answer.headers.get("www-authenticate") == "Bearer") == (answer.status == 401)


def test_a_player_named_as_the_house_is_not_the_house(service: RunningService) -> None:
    """Whoever makes tokens may let people choose their names."""
    token = mint(settings_of(service), "$house-007")
    for what in ("balance", "ledger"):
        answer = ask(service, f"/api/accounts/$house-007/{what}", token)
        assert (answer.status, code_of(answer)) == (403, "FORBIDDEN")
