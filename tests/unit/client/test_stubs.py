"""The generated code that ships with the client: current, and no neighbour's business."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.tidy.tree import GENERATED, ROOT

# A poker service whose own stubs come from another release of the contract.
OTHER_STUBS = """
from google.protobuf import descriptor_pb2, descriptor_pool
other = descriptor_pb2.FileDescriptorProto(name="balance.proto", package="balance", syntax="proto3")
other.message_type.add(name="GetBalanceRequest")
descriptor_pool.Default().Add(other)
"""

BOTH_COPIES = """
from app.client.gen import balance_pb2 as client
from app.rpc.gen import balance_pb2 as server
request = client.SettlePotRequest(winners=[client.PotWinner(seat_id=1, amount=2)], payout_to="TABLE")
heard = server.SettlePotRequest.FromString(request.SerializeToString())
assert heard.winners[0].amount == 2 and heard.payout_to == server.SettlePotRequest.TABLE
"""


@pytest.mark.parametrize("implementation", ["upb", "python"])
@pytest.mark.parametrize("program", [OTHER_STUBS + "import app.client", BOTH_COPIES])
def test_the_stubs_live_beside_others(program: str, implementation: str) -> None:
    """In the common pool they would fail the import: it holds one balance.proto and no other."""
    environ = {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": implementation, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", "-c", program]
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 0, ended.stderr


def test_generated_code_is_what_the_proto_file_gives(tmp_path: Path) -> None:
    """Both copies: `make proto` was run, and nobody wrote into them by hand."""
    command = [sys.executable, str(ROOT / "proto" / "generate.py"), str(tmp_path)]
    subprocess.run(command, capture_output=True, check=True, timeout=60)
    for folder in GENERATED:
        made = {path.name: path.read_text() for path in (tmp_path / folder).iterdir()}
        kept = {name: (ROOT / folder / name).read_text() for name in made}
        assert len(made) == 4
        assert kept == made, f"{folder}: run make proto"
