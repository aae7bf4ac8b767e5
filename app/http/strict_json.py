"""Reads the body of a request as strict JSON: no more of it than allowed, nothing with two meanings."""

from http import HTTPStatus
from typing import Any

from falcon.asgi import Request

from app.domain.validation import Malformed
from app.http.errors import ApiError
from app.services.strict_json import parse_object

MAX_BODY_BYTES = 16 * 1024


async def read_object(req: Request) -> dict[str, Any]:
    """The body, a JSON object in UTF-8. Raises ApiError or Malformed."""
    raw = await _read(req)
    if not raw:
        raise Malformed("body", "is missing")
    _check_media_type(req)
    return parse_object(raw)


async def _read(req: Request) -> bytes:
    """The body, counted while it comes: a length may be announced wrongly, or not at all."""
    too_large = ApiError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {MAX_BODY_BYTES} bytes"
    )
    if (req.content_length or 0) > MAX_BODY_BYTES:
        raise too_large
    raw: bytes = await req.stream.read(MAX_BODY_BYTES + 1)
    if len(raw) > MAX_BODY_BYTES:
        raise too_large
    return raw


def _check_media_type(req: Request) -> None:
    media_type, _, parameters = (req.content_type or "").partition(";")
    charset = parameters.replace(" ", "").replace('"', "").lower()
    is_json = media_type.strip().lower() == "application/json" and charset in ("", "charset=utf-8")
    if not is_json or req.get_header("Content-Encoding") is not None:
        raise ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "wanted is application/json in UTF-8")
