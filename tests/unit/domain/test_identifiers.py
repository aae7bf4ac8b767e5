"""Ids that route themselves: stable for ever, well formed, and never two things under one id."""

from hashlib import sha256
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.identifiers import (
    derive_id,
    hash_key,
    is_caller_id,
    is_key,
    partition_in,
    partition_of,
)

CALLER_IDS = st.from_regex(r"[A-Za-z0-9._:@-]{1,128}", fullmatch=True)
KEYS = st.text(min_size=1, max_size=255).filter(str.isprintable)


@pytest.mark.parametrize(
    ("aggregate_id", "partition"),
    [("alice", 7), ("bob", 0), ("t1", 55), ("table-1", 49), ("x" * 128, 55), ("$house-007", 7)],
)
def test_a_partition_never_changes(aggregate_id: str, partition: int) -> None:
    """Chips stand where it says: another value would lose sight of them."""
    assert partition_of(aggregate_id, 64) == partition


def test_derived_ids_never_change() -> None:
    """They are the idempotency records: another value would apply a repeated command again."""
    assert derive_id(7, "Deposit", "alice", "k-1") == "007-u43p4entbbjapcb2x3pj5yyv4r"
    assert derive_id(34, "Reserve", "alice", "buy-in 1") == "034-tetg7dltu5appl5skdbh57hgtc"
    assert hash_key("k-1") == sha256(b"k-1").hexdigest()


@given(partition=st.integers(0, 998), aggregate_id=CALLER_IDS, key=KEYS)
def test_a_derived_id_says_its_partition(partition: int, aggregate_id: str, key: str) -> None:
    """The same again for the same; and it is an id that a caller may send back."""
    derived = derive_id(partition, "Reserve", aggregate_id, key)
    assert derived == derive_id(partition, "Reserve", aggregate_id, key)
    assert partition_in(derived) == partition
    assert len(derived) == 30
    assert is_caller_id(derived)


# Parts that would run into each other if they were merely put side by side.
SPLITS = ["", "a", "aa", "a|a", "|", "|a", "a|", "a||a", "||"]


def test_parts_cannot_be_shifted_into_each_other() -> None:
    """A key may hold the separator; operation and account may not, so the first two always end the parts."""
    triples = [
        (operation, aggregate_id, key)
        for operation, aggregate_id, key in product(["a", "aa", "Deposit"], ["a", "aa", "a-a"], SPLITS)
    ]
    assert len({derive_id(0, *triple) for triple in triples}) == len(triples)


@given(
    one=st.tuples(st.sampled_from(["Deposit", "Withdraw"]), CALLER_IDS, KEYS),
    other=st.tuples(st.sampled_from(["Deposit", "Withdraw"]), CALLER_IDS, KEYS),
)
def test_different_commands_have_different_ids(
    one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    """Operation, account and key: each counts."""
    assert (derive_id(1, *one) == derive_id(1, *other)) is (one == other)


WELL_FORMED = "007-" + "a2" * 13


@pytest.mark.parametrize(
    "text",
    [
        "",
        "007",
        "007-",
        WELL_FORMED[:-1],
        WELL_FORMED + "a",
        WELL_FORMED.upper(),
        WELL_FORMED + "\n",
        " " + WELL_FORMED,
        WELL_FORMED.replace("a", "1"),
        WELL_FORMED.replace("007", "7"),
        WELL_FORMED.replace("007", "-07"),
        WELL_FORMED.replace("007", "\u0660\u0660\u0667"),
        WELL_FORMED.replace("-", "_"),
    ],
)
def test_what_is_no_derived_id_names_no_partition(text: str) -> None:
    """The front end then answers RESERVATION_NOT_FOUND without asking anybody."""
    assert partition_in(WELL_FORMED) == 7
    assert partition_in(text) is None


@given(aggregate_id=CALLER_IDS, partitions=st.integers(1, 999))
def test_a_partition_is_one_of_those_there_are(aggregate_id: str, partitions: int) -> None:
    """From 0 on."""
    assert 0 <= partition_of(aggregate_id, partitions) < partitions


@given(text=st.text())
def test_no_id_and_no_hashed_key_can_break_a_key_name(text: str) -> None:
    """Key names join their parts with `|` and name their partition in braces."""
    if is_caller_id(text):
        assert not set(text) & set("|{}/$ \n")
    if is_key(text):
        assert set(hash_key(text)) <= set("0123456789abcdef")
