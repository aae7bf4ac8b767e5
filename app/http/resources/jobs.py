"""What nobody waits for: single commands, and batches of payouts; submit, look up, cancel."""

from http import HTTPStatus
from typing import Any, ClassVar, TypeVar

from falcon.asgi import Request, Response

from app.domain.batches import Draft
from app.domain.commands import Command
from app.domain.outcomes import Answer, Outcome
from app.domain.validation import Malformed
from app.http import job_bodies
from app.http.errors import ApiError, refused
from app.http.json_lines import read_lines
from app.http.life import FrontEndLife
from app.http.operations import Operation, Operations
from app.http.requests import load
from app.http.strict_json import read_object
from app.services.access import Action
from app.services.payouts import BatchRefusal, SubmittedBatch

Found = TypeVar("Found")

_REUSED = Answer(outcome=Outcome.IDEMPOTENCY_KEY_REUSED)
_MAY_BE_ABSENT = frozenset({HTTPStatus.NOT_FOUND})
_PROBLEMS_IN_MESSAGE = 10
_SAME_COMMAND = {"commandId": "$response.body#/commandId"}
_SAME_BATCH = {"batchId": "$request.path.batchId"}


class _Jobs:
    def __init__(self, life: FrontEndLife) -> None:
        self._life = life


class Commands(_Jobs):
    """/api/commands."""

    operations: ClassVar[Operations] = {
        "POST": Operation(
            name="submitCommand",
            summary="Have one command carried out that nobody waits for: once this is answered, it will be",
            access=Action.SUBMIT,
            keyed=True,
            bodies=job_bodies.COMMANDS,
            answers={HTTPStatus.ACCEPTED: job_bodies.Submitted},
            links=(("getCommand", _SAME_COMMAND),),
        )
    }

    async def on_post(self, req: Request, resp: Response) -> None:
        command = _command(await read_object(req))
        found = await self._life.submissions.submit(
            command, req.context.idempotency_key, req.context.principal.subject
        )
        if found.reused:
            raise refused(_REUSED)
        if found.before is not None:
            resp.set_header("Idempotent-Replayed", "true")
        resp.status = HTTPStatus.ACCEPTED
        resp.set_header("Location", f"/api/commands/{found.command_id}")
        resp.media = job_bodies.submitted(found)


class SubmittedCommand(_Jobs):
    """/api/commands/{command_id}."""

    operations: ClassVar[Operations] = {
        "GET": Operation(
            name="getCommand",
            summary="Where a submitted command is: queued, done (with its answer), or parked",
            access=Action.SUBMIT,
            answers={HTTPStatus.OK: job_bodies.CommandState},
            errors=_MAY_BE_ABSENT,
        )
    }

    async def on_get(self, _req: Request, resp: Response, command_id: str) -> None:
        state = await self._life.submissions.state(command_id)
        if state is None:
            raise ApiError(HTTPStatus.NOT_FOUND, "there is no such command, or it was done long ago")
        resp.media = job_bodies.command_state(state)


class Batches(_Jobs):
    """/api/batches."""

    operations: ClassVar[Operations] = {
        "POST": Operation(
            name="submitBatch",
            summary="Pay a batch of payouts: one JSON object a line, checked whole before one is paid",
            access=Action.SUBMIT,
            json_lines=job_bodies.PayoutLine,
            query=job_bodies.BatchQuery(),
            answers={HTTPStatus.ACCEPTED: job_bodies.Batch, HTTPStatus.OK: job_bodies.Checked},
            errors=frozenset({HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY}),
        )
    }

    async def on_post(self, req: Request, resp: Response) -> None:
        query = load(job_bodies.BatchQuery(), req.params)
        batch_id: str = query["batch_id"]
        with self._life.payouts.draft() as draft:
            await read_lines(req, draft)
            draft.finish(batch_id, count=query["count"], total=query["total"])
            found = await self._life.payouts.submit(
                draft,
                batch_id,
                submitted_by=req.context.principal.subject,
                dry_run=query["dry_run"],
                all_or_nothing=query["all_or_nothing"],
            )
            _refuse(found, draft)
            if found.view is None:
                resp.media = job_bodies.checked(found.batch_id, draft)
                return
        resp.status = HTTPStatus.ACCEPTED
        resp.set_header("Location", f"/api/batches/{found.batch_id}")
        resp.media = job_bodies.batch(found.view)


class Batch(_Jobs):
    """/api/batches/{batch_id}."""

    operations: ClassVar[Operations] = {
        "GET": Operation(
            name="getBatch",
            summary="How far a batch is",
            access=Action.SUBMIT,
            answers={HTTPStatus.OK: job_bodies.Batch},
            errors=_MAY_BE_ABSENT,
            links=(("listBatchItems", _SAME_BATCH), ("cancelBatch", _SAME_BATCH)),
        )
    }

    async def on_get(self, _req: Request, resp: Response, batch_id: str) -> None:
        resp.media = job_bodies.batch(_known(await self._life.payouts.view(batch_id)))


class BatchItems(_Jobs):
    """/api/batches/{batch_id}/items."""

    operations: ClassVar[Operations] = {
        "GET": Operation(
            name="listBatchItems",
            summary="What became of each line that is settled, page by page (one may be empty)",
            access=Action.SUBMIT,
            query=job_bodies.ItemsQuery(),
            answers={HTTPStatus.OK: job_bodies.BatchItems},
            errors=_MAY_BE_ABSENT,
        )
    }

    async def on_get(self, req: Request, resp: Response, batch_id: str) -> None:
        query = load(job_bodies.ItemsQuery(), req.params)
        page = _known(await self._life.payouts.items(batch_id, **query))
        resp.media = job_bodies.batch_items(*page)


class BatchCancel(_Jobs):
    """/api/batches/{batch_id}/cancel."""

    operations: ClassVar[Operations] = {
        "POST": Operation(
            name="cancelBatch",
            summary="Let nothing more of a batch be queued; what is queued already is paid",
            access=Action.SUBMIT,
            answers={HTTPStatus.OK: job_bodies.Batch},
            errors=_MAY_BE_ABSENT,
        )
    }

    async def on_post(self, _req: Request, resp: Response, batch_id: str) -> None:
        resp.media = job_bodies.batch(_known(await self._life.payouts.cancel(batch_id)))


def _command(body: dict[str, Any]) -> Command:
    operation = body.get("operation")
    kind = job_bodies.KINDS.get(operation) if isinstance(operation, str) else None
    if kind is None:
        raise Malformed("operation", f"must be one of {', '.join(job_bodies.KINDS)}")
    values = load(job_bodies.COMMANDS[kind.__name__], body)
    del values["operation"]
    return kind(**values)


def _refuse(found: SubmittedBatch, draft: Draft) -> None:
    match found.refusal:
        case BatchRefusal.BATCH_ID_REUSED:
            message = "another batch was submitted under this id"
            raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, message, found.refusal)
        case BatchRefusal.BATCH_CANCELLED:
            raise ApiError(HTTPStatus.CONFLICT, "the batch was cancelled", found.refusal)
        case BatchRefusal.INVALID_BATCH:
            told = "; ".join(map(str, draft.problems[:_PROBLEMS_IN_MESSAGE]))
            more = f"; {len(draft.problems)} problems in all" if draft.problems[_PROBLEMS_IN_MESSAGE:] else ""
            raise ApiError(HTTPStatus.BAD_REQUEST, f"nothing was sent: {told}{more}", found.refusal)


def _known(found: Found | None) -> Found:
    if found is None:
        raise ApiError(HTTPStatus.NOT_FOUND, "there is no such batch")
    return found
