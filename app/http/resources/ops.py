"""The service in the hands of ops: how it is, pause and resume, safety stops, accounts, the ops log."""

from http import HTTPStatus
from typing import Any, ClassVar

from falcon.asgi import Request, Response
from marshmallow import Schema

from app.domain.validation import Malformed
from app.http import ops_answers, ops_requests, requests
from app.http.life import FrontEndLife
from app.http.operations import Operation, Operations
from app.http.strict_json import read_object
from app.services.access import Action
from app.services.ops_log import Deed

_ACCOUNTS_QUERY = ops_requests.AccountsQuery()
_LOG_QUERY = ops_requests.LogQuery()


class OpsResource:
    """What all resources of ops share: the front end, their bodies, who asks."""

    operations: ClassVar[Operations]

    def __init__(self, life: FrontEndLife) -> None:
        self._life = life

    async def _body(self, req: Request) -> dict[str, Any]:
        schema = self.operations["POST"].body
        assert schema is not None  # noqa: S101  # a resource that does something has a body
        return requests.load(schema, await read_object(req))


def who(req: Request) -> str:
    """The subject of the caller's token, as the ops log names them."""
    subject: str = req.context.principal.subject
    return subject


def reading(name: str, summary: str, answer: type[Schema], query: Schema | None = None) -> Operations:
    """The one operation of a resource that only reads."""
    return {
        "GET": Operation(
            name=name,
            summary=summary,
            access=Action.OPERATE,
            query=query,
            answers={HTTPStatus.OK: answer},
        )
    }


def doing(
    name: str,
    summary: str,
    answer: type[Schema],
    body: Schema,
    *,
    keyed: bool = False,
    errors: frozenset[HTTPStatus] = frozenset(),
) -> Operations:
    """The one operation of a resource that does something."""
    return {
        "POST": Operation(
            name=name,
            summary=summary,
            access=Action.OPERATE,
            keyed=keyed,
            body=body,
            answers={HTTPStatus.OK: answer},
            errors=errors,
        )
    }


class Status(OpsResource):
    """/api/ops/status."""

    operations: ClassVar[Operations] = reading(
        "getStatus",
        "Workers, queues, dead letters, and whether the totals add up",
        ops_answers.OpsStatus,
    )

    async def on_get(self, _req: Request, resp: Response) -> None:
        resp.media = ops_answers.status(await self._life.ops.read(lambda desk: desk.overview.status()))


class Pause(OpsResource):
    """/api/ops/pause."""

    operations: ClassVar[Operations] = doing(
        "pause",
        "Refuse new commands with UNAVAILABLE; what is queued is carried out",
        ops_answers.Switched,
        ops_requests.Deed(),
    )

    async def on_post(self, req: Request, resp: Response) -> None:
        resp.media = await _switch(self._life, req, await self._body(req), paused=True)


class Resume(OpsResource):
    """/api/ops/resume."""

    operations: ClassVar[Operations] = doing(
        "resume", "Take commands again", ops_answers.Switched, ops_requests.Deed()
    )

    async def on_post(self, req: Request, resp: Response) -> None:
        resp.media = await _switch(self._life, req, await self._body(req), paused=False)


async def _switch(life: FrontEndLife, req: Request, body: dict[str, Any], *, paused: bool) -> dict[str, Any]:
    name, why = who(req), body["reason"]
    if body["dry_run"]:
        status = await life.ops.read(lambda desk: desk.overview.status())
        changed = (status.paused is not None) != paused
    elif paused:
        changed = await life.ops.act(lambda desk: desk.switches.pause(name, why))
    else:
        changed = await life.ops.act(lambda desk: desk.switches.resume(name, why))
    return {"paused": paused, "changed": changed, "dryRun": body["dry_run"]}


class Stops(OpsResource):
    """/api/ops/stops/clear."""

    operations: ClassVar[Operations] = doing(
        "clearStops",
        "Have workers take a kind of command again that they had stopped for its faults",
        ops_answers.Cleared,
        ops_requests.Clearing(),
    )

    async def on_post(self, req: Request, resp: Response) -> None:
        body = await self._body(req)
        kind = body["kind"]
        deed = Deed(who=who(req), what="stops.clear", subjects=(kind,) if kind else (), why=body["reason"])
        if body["dry_run"]:
            found = (await self._life.ops.read(lambda desk: desk.overview.status())).stops
            stops = [each for each in found if kind in ("", each.kind)]
        else:
            stops = await self._life.ops.act(lambda desk: desk.switches.take_down(kind, deed))
        resp.media = {"stops": ops_answers.stops(stops), "dryRun": body["dry_run"]}


class Accounts(OpsResource):
    """/api/ops/accounts."""

    operations: ClassVar[Operations] = reading(
        "listAccounts", "All accounts, page by page", ops_answers.ListedAccounts, _ACCOUNTS_QUERY
    )

    async def on_get(self, req: Request, resp: Response) -> None:
        query = requests.load(_ACCOUNTS_QUERY, req.params)
        try:
            page = await self._life.ops.read(lambda desk: desk.overview.accounts(**query))
        except ValueError as error:
            raise Malformed("after", str(error)) from None
        resp.media = ops_answers.accounts(page)


class House(OpsResource):
    """/api/ops/house."""

    operations: ClassVar[Operations] = reading(
        "getHouse", "What the rake has made", ops_answers.HouseAccounts
    )

    async def on_get(self, _req: Request, resp: Response) -> None:
        resp.media = ops_answers.house(await self._life.ops.read(lambda desk: desk.overview.house()))


class Log(OpsResource):
    """/api/ops/log."""

    operations: ClassVar[Operations] = reading(
        "getOpsLog", "What ops did, newest first", ops_answers.OpsLog, _LOG_QUERY
    )

    async def on_get(self, req: Request, resp: Response) -> None:
        query = requests.load(_LOG_QUERY, req.params)
        resp.media = ops_answers.ops_log(await self._life.ops.read(lambda desk: desk.log.lines(**query)))


class LogVerification(OpsResource):
    """/api/ops/log/verification."""

    operations: ClassVar[Operations] = reading(
        "verifyOpsLog", "Follow the ops log's chain from its first line", ops_answers.OpsLogReport
    )

    async def on_get(self, _req: Request, resp: Response) -> None:
        resp.media = ops_answers.log_report(await self._life.ops.read(lambda desk: desk.log.verify()))
