"""The gRPC contract: what callers have compiled stays as it is, and this check would notice if it did not."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tidy.tree import ROOT

BUF = Path(sys.executable).with_name("buf")
PROTO = ROOT / "proto"
COMMITTED = PROTO / "contract.json"


def broken_by(folder: Path) -> str:
    """What callers of the committed contract would trip over, "" when nothing."""
    command = [str(BUF), "breaking", str(folder), "--against", str(COMMITTED)]
    return str(subprocess.run(command, capture_output=True, text=True, check=False).stdout)


def test_callers_of_the_contract_notice_nothing() -> None:
    """New fields and methods may come; `make contract` then commits callers to them."""
    assert broken_by(PROTO) == ""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("string account_id = 1;", "string account_id = 101;"),
        ("string account_id = 1;", "string account = 1;"),
        ("int64 balance = 2;", "int32 balance = 2;"),
        ("int64 balance = 2;", ""),
        ("rpc GetBalance(", "rpc ReadBalance("),
        ("returns (GetBalanceResponse)", "returns (EnsureAccountResponse)"),
        ("service BalanceService", "service Balance"),
        ("package balance;", "package chips;"),
    ],
)
def test_a_change_of_the_contract_is_noticed(tmp_path: Path, old: str, new: str) -> None:
    """Whatever kind of change it is."""
    folder = Path(shutil.copytree(PROTO, tmp_path / "proto"))
    text = (folder / "balance.proto").read_text()
    assert old in text
    (folder / "balance.proto").write_text(text.replace(old, new, 1))
    assert broken_by(folder) != ""
