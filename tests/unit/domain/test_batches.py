"""A batch before it is sent: what is wrong with its lines, what they add up to, what tells it from others."""

import pytest

from app.domain.amounts import MAX_CHIPS
from app.domain.batches import MAX_LINE, MAX_PROBLEMS, Draft, Item
from app.domain.commands import Payout
from app.domain.identifiers import is_key, partition_of


def item(line: int, account_id: str = "anna", amount: int = 5, key: str = "", **fields: str) -> Item:
    return Item(line, Payout(account_id=account_id, amount=amount, **fields), key)


def draft(*items: Item) -> Draft:
    made = Draft(partitions=4)
    for each in items:
        made.add(each)
    return made


def problems(
    made: Draft, batch_id: str = "", count: int | None = None, total: int | None = None
) -> list[str]:
    made.finish(batch_id, count=count, total=total)
    return list(map(str, made.problems))


def test_a_batch_adds_up_and_is_divided_in_the_order_of_its_lines() -> None:
    """The same lines lie at the same places of their partitions: an offset tells how far a sender was."""
    names = [f"p-{n % 7}" for n in range(50)]
    made = draft(*(item(line, name, line) for line, name in enumerate(names, 1)))
    assert problems(made) == []
    assert (made.count, made.total, made.last_line) == (50, sum(range(1, 51)), 50)
    for partition, items in made.items.items():
        assert {partition_of(each.payout.account_id, 4) for each in items} == {partition}
        assert items == sorted(items)
    assert sorted(each for those in made.items.values() for each in those) == [
        item(line, name, line) for line, name in enumerate(names, 1)
    ]


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (item(3, ""), "line 3: account is missing"),
        (item(3, "$house-001"), "line 3: account must match [A-Za-z0-9._:@-]{1,128}"),
        (item(3, amount=0), f"line 3: amount must be a whole number from 1 to {MAX_CHIPS}"),
        (item(3, amount=MAX_CHIPS + 1), f"line 3: amount must be a whole number from 1 to {MAX_CHIPS}"),
        (item(3, amount=True), f"line 3: amount must be a whole number from 1 to {MAX_CHIPS}"),
        (item(3, type="DEPOSIT"), "line 3: type must be one of BONUS, PAYOUT, REFERRAL"),
        (item(3, reason="x" * 256), "line 3: reason must be at most 255 printable characters"),
        (item(3, key="\n"), "line 3: key must be 1 to 255 printable characters"),
        (item(3, key="mine"), "line 3: key stands on line 2 too, for the same account"),
        (item(2), "line 2: line comes after line 2"),
        (item(0), "line comes after line 2"),
        (item(MAX_LINE + 1), f"line {MAX_LINE + 1}: line is beyond {MAX_LINE}"),
    ],
)
def test_a_line_that_is_wrong_is_named_with_its_field(wrong: Item, problem: str) -> None:
    """And the rest is looked at all the same."""
    made = draft(item(1), item(2, key="mine"), wrong, item(7, amount=-1))
    assert problems(made)[0] == problem
    assert len(made.problems) == 2


def test_the_same_key_may_stand_for_two_accounts() -> None:
    """A key is of an account: a payroll may name its day in all of them."""
    assert problems(draft(item(1, "anna", key="monday"), item(2, "bert", key="monday"))) == []


def test_what_a_caller_expects_is_compared() -> None:
    """A file that was cut off on its way is complete by itself, and still wrong."""
    assert problems(draft(item(1), item(2)), count=2, total=10) == []
    assert problems(draft(item(1), item(2)), count=3, total=11) == [
        "count should be 3, and the file holds 2 payouts",
        "total should be 11, and the file adds up to 10",
    ]


def test_a_batch_as_a_whole_may_be_wrong() -> None:
    assert problems(draft()) == ["file holds no payouts"]
    assert problems(draft(item(1)), batch_id="a b") == ["batchId must match [A-Za-z0-9._:@-]{1,128}"]
    beyond = draft(item(1, amount=MAX_CHIPS), item(2, amount=1))
    assert problems(beyond) == [f"total is {MAX_CHIPS + 1}, beyond {MAX_CHIPS}"]


def test_what_is_wrong_everywhere_is_told_so_often_and_no_more() -> None:
    made = draft(*(item(line, amount=0) for line in range(1, 2 * MAX_PROBLEMS)))
    assert made.full
    assert len(problems(made)) == MAX_PROBLEMS


def test_another_content_is_another_batch() -> None:
    """Whatever differs: id, key and content are one."""
    base = draft(item(1), item(2, key="k"))
    others = [
        draft(item(1)),
        draft(item(1), item(3, key="k")),
        draft(item(1), item(2, key="l")),
        draft(item(1), item(2, "bert", key="k")),
        draft(item(1, amount=6), item(2, key="k")),
        draft(item(1, type="BONUS"), item(2, key="k")),
        draft(item(1, reason="r"), item(2, key="k")),
    ]
    contents = {made.content for made in (base, *others)}
    assert len(contents) == len({made.derived_id for made in (base, *others)}) == 8
    assert draft(item(1), item(2, key="k")).derived_id == base.derived_id
    assert Draft(partitions=1).content == Draft(partitions=64).content


def test_a_line_has_a_key_of_its_own() -> None:
    """The longest id and the last line still make a key; no id holds what divides them."""
    assert item(7).key_in("b") == "b#7"
    assert item(7, key="mine").key_in("b") == "mine"
    assert is_key(item(MAX_LINE).key_in("b" * 128))
