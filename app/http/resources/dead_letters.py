"""Dead letters over HTTP: list, look at, replay, resolve."""

from http import HTTPStatus
from typing import ClassVar

from falcon.asgi import Request, Response

from app.http import ops_answers, ops_requests, requests
from app.http.errors import ApiError
from app.http.operations import Operation, Operations
from app.http.resources.ops import OpsResource, doing, reading, who
from app.services.access import Action
from app.services.dead_letters import KEY_LOST, Treated, Wish, causes_of, order_of
from app.services.operations import OpsDesk

_QUERY = ops_requests.LettersQuery()


class DeadLetters(OpsResource):
    """/api/ops/dead-letters."""

    operations: ClassVar[Operations] = reading(
        "listDeadLetters",
        "Commands that a fault has parked, in the order in which they came, and their causes",
        ops_answers.DeadLetterPage,
        _QUERY,
    )

    async def on_get(self, req: Request, resp: Response) -> None:
        query = requests.load(_QUERY, req.params)
        limit, after = query.pop("limit"), query.pop("after")
        wish = Wish(**query)
        found = await self._life.ops.read(lambda desk: desk.dead_letters.find(wish))
        behind = [each for each in found if not after or order_of(each.dead_letter_id) > order_of(after)]
        page = behind[:limit]
        resp.media = {
            "deadLetters": [ops_answers.dead_letter(each) for each in page],
            "total": len(found),
            "chips": sum(letter.amount for letter in found),
            "causes": [ops_answers.cause(each) for each in causes_of(found)],
            "next": page[-1].dead_letter_id if limit < len(behind) else "",
        }


class OneDeadLetter(OpsResource):
    """/api/ops/dead-letters/{dead_letter_id}."""

    operations: ClassVar[Operations] = {
        "GET": Operation(
            name="getDeadLetter",
            summary="One dead letter, its envelope and its replays; a closed one for 90 days",
            access=Action.OPERATE,
            answers={HTTPStatus.OK: ops_answers.DeadLetterDetails},
            errors=frozenset({HTTPStatus.NOT_FOUND}),
        )
    }

    async def on_get(self, _req: Request, resp: Response, dead_letter_id: str) -> None:
        letter = await self._life.ops.read(lambda desk: desk.dead_letters.letter(dead_letter_id))
        if letter is None:
            raise ApiError(HTTPStatus.NOT_FOUND, "there is no such dead letter")
        resp.media = ops_answers.dead_letter(letter, whole=True)


class Replay(OpsResource):
    """/api/ops/dead-letters/replay."""

    operations: ClassVar[Operations] = doing(
        "replayDeadLetters",
        "Carry these commands out under their own keys: what had been applied is not applied again",
        ops_answers.TreatedLetters,
        ops_requests.Replay(),
    )

    async def on_post(self, req: Request, resp: Response) -> None:
        body = await self._body(req)
        name, why, ids, force = who(req), body["reason"], body["ids"], body["force"]

        def foresee(desk: OpsDesk) -> list[Treated]:
            return [desk.dead_letters.foresee(each, force=force) for each in dict.fromkeys(ids)]

        def replay(desk: OpsDesk) -> list[Treated]:
            treated = desk.dead_letters.replay(ids, name, why, force=force)
            return [
                desk.dead_letters.reissue(each.dead_letter_id, name, why)
                if body["reissue"] and each.result == KEY_LOST
                else each
                for each in treated
            ]

        room, dry_run = self._life.ops, body["dry_run"]
        resp.media = ops_answers.treated(
            await (room.read(foresee) if dry_run else room.act(replay)), dry_run=dry_run
        )


class Resolve(OpsResource):
    """/api/ops/dead-letters/resolve."""

    operations: ClassVar[Operations] = doing(
        "resolveDeadLetters",
        "Close these without carrying them out; their keys stay taken",
        ops_answers.TreatedLetters,
        ops_requests.Resolution(),
    )

    async def on_post(self, req: Request, resp: Response) -> None:
        body = await self._body(req)
        name, why, ids = who(req), body["reason"], body["ids"]

        def look(desk: OpsDesk) -> list[Treated]:
            return [desk.dead_letters.would_resolve(each) for each in dict.fromkeys(ids)]

        room, dry_run = self._life.ops, body["dry_run"]
        found = await (
            room.read(look) if dry_run else room.act(lambda desk: desk.dead_letters.resolve(ids, name, why))
        )
        resp.media = ops_answers.treated(found, dry_run=dry_run)
