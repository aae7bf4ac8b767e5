"""Strict JSON: one text has one meaning, or none."""

from typing import Any

import pytest

from app.domain.validation import Malformed
from app.services.strict_json import parse_object


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"{}", {}),
        (b' {"a": 1, "b": "\xc3\xa9", "c": [true, null]} ', {"a": 1, "b": "é", "c": [True, None]}),
        (b'{"a": 9223372036854775807}', {"a": 2**63 - 1}),
        (b'{"a": -9223372036854775808}', {"a": -(2**63)}),
        (b'{"a": 1.0, "b": 1e2}', {"a": 1.0, "b": 100.0}),
        (b'{"a": "' + b"[{" * 127 + b'"}', {"a": "[{" * 127}),
    ],
)
def test_an_object_is_read_as_it_stands(raw: bytes, value: dict[str, Any]) -> None:
    """Integers exactly; a number that is written as none stays one."""
    found = parse_object(raw)
    assert found == value
    assert [type(each) for each in found.values()] == [type(each) for each in value.values()]


@pytest.mark.parametrize("digits", [21, 4_299, 5_000, 16_000])
def test_a_number_of_many_digits_is_beyond_every_range(digits: int) -> None:
    """Whoever checks the range names its field; reading it takes no time."""
    assert parse_object(b'{"a": ' + b"9" * digits + b"}")["a"] > 2**64


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b'{"a": 1, "a": 1}', "body has a key twice"),
        (b'{"x": {"a": 1, "a": 2}}', "body has a key twice"),
        (b'{"a": NaN}', "body holds NaN or Infinity, which is not JSON"),
        (b'{"a": -Infinity}', "body holds NaN or Infinity, which is not JSON"),
        (b"[" * 16_000, "body is nested too deeply"),
        (b'{"a": ' + b"[" * 600 + b"]" * 600 + b"}", "body is nested too deeply"),
        (b'{"a": ' * 600 + b"1" + b"}" * 600, "body is nested too deeply"),
        (b"\xff", "body is not JSON in UTF-8"),
        (b'{"a": "\xed\xa0\x80"}', "body is not JSON in UTF-8"),
        (b"{", "body is not JSON in UTF-8"),
        (b"[]", "body must be a JSON object"),
    ],
)
def test_anything_else_is_refused_with_its_reason(raw: bytes, why: str) -> None:
    """None of which quotes what was sent."""
    with pytest.raises(Malformed, match=f"^{why}$"):
        parse_object(raw)
