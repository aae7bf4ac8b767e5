"""Reads a JSON object so that nothing in it has two meanings; for bodies, and for the lines of a file."""

import json
from typing import Any, NoReturn

from app.domain.validation import Malformed

_MOST_OPENINGS = 512  # beyond any body of ours; how deep Python itself reads depends on its release
_LONGEST_INTEGER = 20  # digits and sign of the largest 64-bit integer; beyond, all are equally wrong
_BEYOND_ALL_RANGES = 10**_LONGEST_INTEGER


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


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Malformed("body", "has a key twice")
    return found


def _refuse_constant(_name: str) -> NoReturn:
    raise Malformed("body", "holds NaN or Infinity, which is not JSON")


def _integer(text: str) -> int:
    return int(text) if len(text) <= _LONGEST_INTEGER else _BEYOND_ALL_RANGES
