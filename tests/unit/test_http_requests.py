"""What is wrong with a body is named: the field, and of a list the place in it."""

from typing import Any

import pytest

from app.domain.validation import Malformed
from app.http.ops_requests import MOST_LETTERS, Replay
from app.http.requests import load


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
