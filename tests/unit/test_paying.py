"""`balance payouts submit` before a service that says what a test wants: what is sent, what is sent again."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from grpc import StatusCode

from app.cli import paying
from app.cli.main import main
from app.client.gen import balance_pb2 as pb
from app.rpc.server import MAX_REQUEST_BYTES
from tests.support.scripted_service import Line, ScriptedService, scripted_service

NO_BATCH = pb.GetBatchResponse(error="BATCH_NOT_FOUND")
TAKEN = pb.SubmitBatchResponse(ok=True, batch=pb.Batch(items=400, sent=400))
FAULT = (StatusCode.INTERNAL, "a fault of ours, request 1")
TOO_LARGE = (StatusCode.RESOURCE_EXHAUSTED, "SERVER: Received message larger than max (65537 vs. 65536)")


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedService]:
    """Asked in a known order: nobody looks how far the batch is while it is sent."""
    monkeypatch.setattr(paying, "POLL_SECONDS", 600.0)
    with scripted_service() as service:
        yield service


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Lines of very different lengths, up to what is allowed."""
    path = tmp_path / "payroll.jsonl"
    texts = ("", "r" * 255, "\N{CJK UNIFIED IDEOGRAPH-5956}" * 255, "\N{SLOT MACHINE}" * 255)
    lines = [{"account": "a" * 128, "amount": n, "reason": texts[n % 4]} for n in range(1, 401)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def submit(service: ScriptedService, file: Path, *options: str) -> Result:
    command = ["payouts", "submit", str(file), "--batch-id", "friday", "--target", service.target, *options]
    return CliRunner().invoke(main, command, env={"DATA_DIR": "nowhere"})


def test_lines_travel_in_messages_that_the_service_takes(service: ScriptedService, file: Path) -> None:
    """However long they are, each once and in their order."""
    service.answers(NO_BATCH, TAKEN)
    assert submit(service, file, "--no-wait").exit_code == 0
    _, (method, (first, *more), _) = service.asked
    assert (method, first.header.count, len(first.items)) == ("SubmitBatch", 400, 0)
    assert [item.line for message in more for item in message.items] == [*range(1, 401)]
    assert max(message.ByteSize() for message in more) < MAX_REQUEST_BYTES
    assert len(more) < 10


def test_a_message_that_will_never_get_through_is_sent_once(service: ScriptedService, file: Path) -> None:
    """gRPC tells it under the status of an overload, which would pass."""
    service.answers(NO_BATCH, TOO_LARGE)
    assert TOO_LARGE[1] in submit(service, file).stderr
    assert [method for method, _, _ in service.asked] == ["GetBatch", "SubmitBatch"]


@pytest.mark.parametrize(
    ("script", "options"),
    [
        ([FAULT], ()),
        ([NO_BATCH, FAULT], ("--dry-run",)),
        ([NO_BATCH, pb.SubmitBatchResponse(error="BATCH_ID_REUSED")], ()),
    ],
    ids=["not begun", "dry run", "another file's id"],
)
def test_a_command_that_sent_nothing_ends_with_2(
    service: ScriptedService, file: Path, script: list[Line], options: tuple[str, ...]
) -> None:
    """Whatever it gave up for."""
    service.answers(*script)
    ended = submit(service, file, *options)
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert "may be paid" not in ended.stderr


@pytest.mark.parametrize("script", [[FAULT], [TAKEN, FAULT], [TAKEN, NO_BATCH]])
def test_a_command_that_gives_up_on_its_way_ends_with_3(
    service: ScriptedService, file: Path, script: list[Line]
) -> None:
    """While it sends or while it waits; it names the batch that may be paid in part."""
    service.answers(NO_BATCH, *script)
    ended = submit(service, file)
    assert (ended.exit_code, ended.stdout) == (3, "")
    assert "part of batch friday may be paid: submit the same file again" in ended.stderr
