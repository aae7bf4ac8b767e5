"""What is wrong with a body is named: the field, and of a list the place in it."""

from typing import Any

import pytest
from marshmallow import Schema

from app.domain.validation import Malformed
from app.http.ops_requests import MOST_LETTERS, Deed, LettersQuery, Replay
from app.http.requests import Withdrawal, load

UNPRINTABLE = ["a\0b", "a\nb", "\x1b[2K", "a\x7f", "a\u2028b", "a\u202eb", "\ud83d"]
PRINTABLE = ["a", " two words ", "~!|$\\\"'", "zurückgezahlt", "返金", "\U0001f0a1"]


def about(text: str) -> list[tuple[Schema, dict[str, Any], str]]:
    """What ops and callers may send with this text in it, and the name of the text."""
    return [
        (Deed(), {"reason": text}, "reason"),
        (Replay(), {"reason": "r", "ids": ["a", text]}, "ids[1]"),
        (LettersQuery(), {"error": text}, "error"),
        (Withdrawal(), {"amount": 1, "reason": text}, "reason"),
    ]


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        (["001-i-1-0-0", ""], "ids[1] must be 1 to 255 printable characters"),
        (["a", "b", "x" * 256], "ids[2] must be 1 to 255 printable characters"),
        (["a", 5, ""], "ids[1] must be 1 to 255 printable characters"),
        ([None], "ids[0] must be 1 to 255 printable characters"),
        ([], f"ids must be 1 to {MOST_LETTERS} ids"),
        ("a", f"ids must be 1 to {MOST_LETTERS} ids"),
        (None, f"ids must be 1 to {MOST_LETTERS} ids"),
    ],
)
def test_what_is_wrong_in_a_list_is_named(ids: Any, text: str) -> None:
    with pytest.raises(Malformed) as malformed:
        load(Replay(), {"reason": "r", "ids": ids})
    assert str(malformed.value) == text


@pytest.mark.parametrize("text", UNPRINTABLE, ids=ascii)
def test_a_text_that_cannot_be_printed_is_refused(text: str) -> None:
    """It could forge a row where it is shown, or be no UTF-8 at all; and the interface says that it is."""
    for schema, body, name in about(text):
        with pytest.raises(Malformed, match="printable characters") as malformed:
            load(schema, body)
        assert malformed.value.field == name


@pytest.mark.parametrize("text", PRINTABLE)
def test_a_text_is_taken_as_it_is(text: str) -> None:
    """In any script. One that need not be there may also be empty."""
    for schema, body, _ in about(text):
        assert load(schema, body).items() >= body.items()
    assert load(Withdrawal(), {"amount": 1, "reason": ""}) == load(Withdrawal(), {"amount": 1})
