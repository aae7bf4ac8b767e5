"""Reads a body of JSON lines as it comes: never whole in memory, and never more of it than allowed."""

from http import HTTPStatus

from falcon.asgi import Request

from app.domain.batches import Draft
from app.http.errors import ApiError
from app.services.payout_files import LineReader

MAX_LINES_BYTES = 64 * 1024 * 1024
MEDIA_TYPES = ("application/x-ndjson", "application/jsonl")


async def read_lines(req: Request, draft: Draft) -> None:
    """Put the lines of the body into the draft. Raises ApiError, also where the body was cut off.

    What came until then is a batch of its own: it must not be paid.
    """
    _check_media_type(req)
    too_large = ApiError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {MAX_LINES_BYTES} bytes"
    )
    if (req.content_length or 0) > MAX_LINES_BYTES:
        raise too_large
    reader, size = LineReader(draft), 0
    async for piece in req.stream:
        size += len(piece)
        if size > MAX_LINES_BYTES:
            raise too_large
        reader.feed(piece)
    if req.context.cut_off or size < (req.content_length or 0):
        raise ApiError(HTTPStatus.BAD_REQUEST, "the body was cut off; nothing was done")
    reader.end()


def _check_media_type(req: Request) -> None:
    media_type, _, parameters = (req.content_type or "").partition(";")
    charset = parameters.replace(" ", "").replace('"', "").lower()
    is_lines = media_type.strip().lower() in MEDIA_TYPES and charset in ("", "charset=utf-8")
    if not is_lines or req.get_header("Content-Encoding") is not None:
        raise ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"wanted is {MEDIA_TYPES[0]} in UTF-8")
