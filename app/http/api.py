"""The HTTP application: its routes and what wraps them. One function makes it; importing has no effect."""

from collections.abc import Mapping
from typing import Any

import falcon.asgi
import falcon.media
import msgspec

from app.config import Settings
from app.http import errors
from app.http.callers import Callers
from app.http.keys import FreshKeys
from app.http.life import FrontEndLife, OpenFrontEnd
from app.http.middleware import (
    Authorization,
    EncodedSlashes,
    IdempotencyKeys,
    Identification,
    RequestIds,
    Watching,
)
from app.http.operations import Resource
from app.http.rate_limit import RateLimit
from app.http.resources import accounts, dead_letters, docs, health, history, jobs, ops, ops_commands
from app.http.whole_request import WholeRequest
from app.services.rate_limit import RateLimits
from app.services.tokens import TokenVerifier

_encode = msgspec.json.Encoder().encode


def create_app(
    settings: Settings, open_front_end: OpenFrontEnd, grpc_probe: health.Probe | None = None
) -> falcon.asgi.App[Any, Any]:
    """The app; the ASGI lifespan opens and closes its front end. With a probe, ready waits for gRPC too."""
    life = FrontEndLife(open_front_end)
    verifier = TokenVerifier(settings)
    player_deposits = settings.player_deposits == "allow"
    middleware: list[Any] = [
        Watching(life),
        RequestIds(),
        EncodedSlashes(),
        Identification(Callers(verifier)),
        RateLimit(RateLimits(settings)),
        Authorization(player_deposits=player_deposits),
        IdempotencyKeys(),
        life,
        FreshKeys(verifier),
    ]
    app: falcon.asgi.App[Any, Any] = falcon.asgi.App(request_type=WholeRequest, middleware=middleware)
    app.resp_options.media_handlers[falcon.MEDIA_JSON] = falcon.media.JSONHandler(dumps=_encode)
    errors.install(app)
    routes = api_routes(life, grpc_probe, player_deposits=player_deposits)
    for path, resource in {**routes, **_docs_routes(routes)}.items():
        app.add_route(path, resource)
    return app


def api_routes(
    life: FrontEndLife, grpc_probe: health.Probe | None, *, player_deposits: bool
) -> Mapping[str, Resource]:
    """Every path of the published interface."""
    account = "/api/accounts/{account_id}"
    return {
        "/api/health": health.Health(life),
        "/api/ready": health.Ready(life, grpc_probe),
        account: accounts.Account(life, player_deposits=player_deposits),
        f"{account}/balance": accounts.Balance(life),
        f"{account}/deposit": accounts.Deposit(life),
        f"{account}/withdraw": accounts.Withdraw(life),
        f"{account}/transactions": history.Transactions(life),
        f"{account}/transactions/{{transaction_id}}": history.AccountTransaction(life),
        f"{account}/ledger": history.Ledger(life),
        f"{account}/reservations": history.Reservations(life),
        "/api/transactions/{transaction_id}": history.AnyTransaction(life),
        "/api/commands": jobs.Commands(life),
        "/api/commands/{command_id}": jobs.SubmittedCommand(life),
        "/api/batches": jobs.Batches(life),
        "/api/batches/{batch_id}": jobs.Batch(life),
        "/api/batches/{batch_id}/items": jobs.BatchItems(life),
        "/api/batches/{batch_id}/cancel": jobs.BatchCancel(life),
        **_ops_routes(life),
    }


def _ops_routes(life: FrontEndLife) -> Mapping[str, Resource]:
    account, table = "/api/ops/accounts/{account_id}", "/api/ops/tables/{table_id}"
    return {
        "/api/ops/status": ops.Status(life),
        "/api/ops/pause": ops.Pause(life),
        "/api/ops/resume": ops.Resume(life),
        "/api/ops/stops/clear": ops.Stops(life),
        "/api/ops/dead-letters": dead_letters.DeadLetters(life),
        "/api/ops/dead-letters/{dead_letter_id}": dead_letters.OneDeadLetter(life),
        "/api/ops/dead-letters/replay": dead_letters.Replay(life),
        "/api/ops/dead-letters/resolve": dead_letters.Resolve(life),
        "/api/ops/accounts": ops.Accounts(life),
        f"{account}/freeze": ops_commands.Freeze(life),
        f"{account}/unfreeze": ops_commands.Unfreeze(life),
        f"{account}/adjust": ops_commands.Adjustment(life),
        f"{table}/pots/{{hand_id}}/cancel": ops_commands.CancelledPot(life),
        f"{table}/close": ops_commands.ClosedTable(life),
        "/api/ops/house": ops.House(life),
        "/api/ops/log": ops.Log(life),
        "/api/ops/log/verification": ops.LogVerification(life),
    }


def _docs_routes(routes: Mapping[str, Resource]) -> Mapping[str, Resource]:
    return {
        "/api/openapi.json": docs.OpenApi(routes),
        "/api/docs": docs.Page(),
        "/api/docs/{name}": docs.Asset(),
    }
