"""Reads the body of a request as strict JSON: no more of it than allowed, nothing with two meanings."""

import json
from http import HTTPStatus
from typing import Any, NoReturn

from falcon.asgi import Request

from app.domain.validation import Malformed
from app.http.errors import ApiError

MAX_BODY_BYTES = 16 * 1024
_MOST_OPENINGS = 512  # beyond any body of ours; how deep Python itself reads depends on its release
_LONGEST_INTEGER = 20  # digits and sign of the largest 64-bit integer; beyond, all are equally wrong
_BEYOND_ALL_RANGES = 10**_LONGEST_INTEGER


async def read_object(req: Request) -> dict[str, Any]:
    """The body, a JSON object in UTF-8. Raises ApiError or Malformed."""
    raw = await _read(req)
    if not raw:
        raise Malformed("body", "is missing")
    _check_media_type(req)
    return parse_object(raw)


def parse_object(raw: bytes) -> dict[str, Any]:
    """The JSON object in these bytes; a number with a fraction or an exponent comes as a float.

    Raises Malformed also for what the standard allows and two readers would understand differently:
    duplicate keys, and numbers beyond 64 bits (those come as an integer that is out of every range).
    """
    if raw.count(b"[") + raw.count(b"{") > _MOST_OPENINGS:
        raise Malformed("body", "is nested too deeply")
    try:
        value = json.loads(
            raw.decode(),
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_int=_integer,
        )
    except (UnicodeDecodeError, json.JSONDecodeError):
        raise Malformed("body", "is not JSON in UTF-8") from None
    except RecursionError:
        raise Malformed("body", "is nested too deeply") from None
    if not isinstance(value, dict):
        raise Malformed("body", "must be a JSON object")
    return value


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


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Malformed("body", "has a key twice")
    return found


def _refuse_constant(_name: str) -> NoReturn:
    raise Malformed("body", "holds NaN or Infinity, which is not JSON")


def _integer(text: str) -> int:
    return int(text) if len(text) <= _LONGEST_INTEGER else _BEYOND_ALL_RANGES
