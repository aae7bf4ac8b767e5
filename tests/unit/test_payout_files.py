"""Files of payouts: JSON lines and CSV make the same batches, and say what is wrong with which line."""

import json

import pytest

from app.domain.batches import Draft, Item
from app.domain.commands import Payout
from app.services.payout_files import MAX_LINE_BYTES, LineReader, read_file

ANNA = Item(1, Payout(account_id="anna", amount=5))
BERT = Item(2, Payout(account_id="bert", amount=7, type="BONUS", reason="weekly, paid"), "k-1")


def read(content: bytes) -> Draft:
    draft = Draft(partitions=1)
    read_file(content, draft)
    draft.finish("")
    return draft


def items(content: bytes) -> list[Item]:
    draft = read(content)
    assert draft.problems == []
    return draft.items[0]


def problems(content: bytes) -> list[str]:
    return list(map(str, read(content).problems))


@pytest.mark.parametrize(
    "content",
    [
        (
            b'{"account": "anna", "amount": 5}\n'
            b'{"account": "bert", "amount": 7, "type": "BONUS", "reason": "weekly, paid", "key": "k-1"}\n'
        ),
        (
            b'{"accountId":"anna","amount":5,"key":""}\r\n'
            b'{"accountId":"bert","amount":7,"type":"BONUS","metadata":{"reason":"weekly, paid"},'
            b'"idempotencyKey":"k-1"}'
        ),
        (
            b"\xef\xbb\xbf"
            b'{"account": "anna", "amount": 5, "metadata": {}}\n'
            b'{"account": "bert", "amount": 7, "type": "BONUS", "metadata": "weekly, paid", "key": "k-1"}'
        ),
    ],
)
def test_json_lines(content: bytes) -> None:
    """By their short names, or as the HTTP interface calls them."""
    assert items(content) == [ANNA, BERT]


@pytest.mark.parametrize(
    "content",
    [
        'account,amount,key,type,reason\nanna,5,,,\nbert,7,k-1,BONUS,"weekly, paid"\n',
        '\ufeffamount,account,metadata,type,key\r\n5,anna\t,,,\r\n7, bert ,"weekly, paid",BONUS,k-1',
        (
            "account,amount,key,type,metadata\nanna,5,,PAYOUT,\n"
            'bert,7,k-1,BONUS,"{""reason"":""weekly, paid""}"\n'
        ),
    ],
)
def test_csv(content: str) -> None:
    """In any order of its columns; lines are those of the file, which the header begins."""
    moved = [item._replace(line=item.line + 1) for item in (ANNA, BERT)]
    assert items(content.encode()) == moved


def test_empty_lines_count_as_lines() -> None:
    """Whoever looks for line 4 in an editor finds it."""
    line = json.dumps({"account": "anna", "amount": 5})
    assert [item.line for item in items(f"{line}\n\n  \n{line}\n".encode())] == [1, 4]
    assert [item.line for item in items(b"account,amount\n\nanna,5\n")] == [3]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "line is not JSON in UTF-8"),
        ('{"account":"a","amount":1}{}', "line is not JSON in UTF-8"),
        ('{"account":"a","account":"b","amount":1}', "line has a key twice"),
        ('{"account":"a","accountId":"b","amount":1}', "account is there twice"),
        ('{"account":"a","amount":1,"reason":"r","metadata":{"reason":"s"}}', "reason is there twice"),
        (
            '{"account":"a","amount":1,"metadata":{"tableId":"t"}}',
            "metadata may hold a reason, and nothing else",
        ),
        ('{"account":"a","amount":1,"metadata":7}', "metadata must be an object or a text"),
        ('{"account":"a","amount":NaN}', "line holds NaN or Infinity, which is not JSON"),
        ('{"account":"a","amount":1.0}', "amount must be a whole number from 1 to 9007199254740991"),
        ('{"account":"a","amount":"1"}', "amount must be a whole number from 1 to 9007199254740991"),
        ('{"account":"a","amount":null}', "amount must be a whole number from 1 to 9007199254740991"),
        ('{"account":"a"}', "amount must be a whole number from 1 to 9007199254740991"),
        ('{"amount":1}', "account is missing"),
        ('{"account":7,"amount":1}', "account must be a text"),
        ('{"account":"a","amount":1,"type":["BONUS"]}', "type must be a text"),
        ('{"account":"a","amount":1,"key":null}', "key must be a text"),
        ('{"account":"a","amount":1,"balance":2}', "balance is not known here"),
        ('{"account":"a","amount":1,"\\u001b[2J":2}', "a field is not known here"),
        ('{"account":"a","amount":1,"reason":"\\u0000"}', "reason must be at most 255 printable characters"),
        ("{" + " " * MAX_LINE_BYTES + "}", f"line is longer than {MAX_LINE_BYTES} bytes"),
    ],
)
def test_a_wrong_line_is_named(line: str, problem: str) -> None:
    """What is nearly right is wrong: it is about money."""
    good = json.dumps({"account": "anna", "amount": 5})
    assert problems(f"{good}\n{line}\n{good}".encode()) == [f"line 2: {problem}"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "line 1: header must name the columns, account and amount among them"),
        (b"anna,5\nbert,7\n", "line 1: header must name the columns, account and amount among them"),
        (b"account,amount\nanna\n", "line 2: line has 1 fields, the header 2"),
        (b"account,amount\nanna,5,x\n", "line 2: line has 3 fields, the header 2"),
        (b"account,amount,balance\nanna,5,1\n", "line 2: balance is not known here"),
        (b"account,amount\nanna,5.0\n", "line 2: amount must be a whole number from 1 to 9007199254740991"),
        (b"account,amount\nanna,+5\n", "line 2: amount must be a whole number from 1 to 9007199254740991"),
        (b"account,amount\n,5\n", "line 2: account is missing"),
        (b'account,amount\n"anna"x,5\n', "line 2: line is not CSV: ',' expected after '\"'"),
        (b"account,amount\n\xff,5\n", "file is not in UTF-8"),
        (b"[1]", "line 1: header must name the columns, account and amount among them"),
    ],
)
def test_a_wrong_row_is_named(content: bytes, problem: str) -> None:
    assert problem in problems(content)


@pytest.mark.parametrize("size", [1, 2, 7, 64, 10_000])
def test_lines_come_in_pieces_of_any_size(size: int) -> None:
    """As a body does; a line that never ends is not kept."""
    content = b"".join(
        json.dumps({"account": f"ä-{n}" if n == 3 else f"a-{n}", "amount": n}).encode() + b"\n"
        for n in range(1, 9)
    )
    content += b" " * (2 * MAX_LINE_BYTES) + b'x\n{"account":"z","amount":1}'
    draft = Draft(partitions=1)
    reader = LineReader(draft)
    for first in range(0, len(content), size):
        reader.feed(content[first : first + size])
        assert len(reader._rest) <= MAX_LINE_BYTES + size
    reader.end()
    assert [problem.line for problem in draft.problems] == [3, 9]
    assert [item.line for item in draft.items[0]] == [1, 2, 4, 5, 6, 7, 8, 10]
