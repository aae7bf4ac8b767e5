"""`balance call`: one gRPC call from the command line. Methods and fields come from the descriptor."""

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import click
import grpc
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from app.cli.target import find_target, target_options
from app.config import Settings
from app.rpc.gen import balance_pb2
from app.rpc.tls import channel

_NOBODY_ANSWERED = 2
_UNANSWERED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
_SERVICE = balance_pb2.DESCRIPTOR.services_by_name["BalanceService"]
# A batch is a stream, for which there is `balance payouts`.
_METHODS = [method.name for method in _SERVICE.methods if not method.client_streaming]


@click.command()
@click.argument("method", type=click.Choice(_METHODS), metavar="METHOD")
@click.argument("fields", nargs=-1, metavar="[FIELD=VALUE]...")
@click.option("--timeout", default=5.0, show_default=True, help="Seconds to wait for the answer.")
@target_options
def call(method: str, fields: tuple[str, ...], timeout: float, target: str | None, token: str | None) -> None:
    """Call one gRPC method of a running service and print its answer as JSON.

    A refusal is an answer too: see its "error". The value of a list is JSON, as in
    'winners=[{"seat_id": 1, "account_id": "alice", "amount": 40}]'. Exit code 1 when the call was refused,
    2 when nobody has answered.
    """
    found = find_target(Settings.from_environment(os.environ), target, token)
    descriptor = _SERVICE.methods_by_name[method]
    request = request_of(descriptor, fields)
    metadata = (("authorization", f"Bearer {found.token}"),) if found.token else ()
    with channel(found.grpc, found.tls) as service:
        invoke = service.unary_unary(
            f"/{_SERVICE.full_name}/{method}",
            request_serializer=GetMessageClass(descriptor.input_type).SerializeToString,
            response_deserializer=GetMessageClass(descriptor.output_type).FromString,
        )
        try:
            answer = invoke(request, timeout=timeout, metadata=metadata)
        except grpc.RpcError as error:
            click.echo(f"{error.code().name}: {error.details()}", err=True)
            sys.exit(_NOBODY_ANSWERED if error.code() in _UNANSWERED else 1)
    click.echo(json.dumps(plain(answer)))
    sys.exit(0 if getattr(answer, "ok", True) else 1)


def request_of(method: MethodDescriptor, assignments: Sequence[str]) -> Message:
    """The method's request with these FIELD=VALUE assignments; raises UsageError naming the wrong one."""
    request = GetMessageClass(method.input_type)()
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        field = method.input_type.fields_by_name.get(name)
        if not separator or field is None:
            fields = ", ".join(method.input_type.fields_by_name)
            raise click.UsageError(f"{assignment!r} is not FIELD=VALUE; the fields are {fields}")
        try:
            json_format.ParseDict({name: _value(field, text)}, request)
        except (ValueError, json_format.ParseError) as error:
            raise click.UsageError(f"{name}: {error}") from error
    return request


def plain(message: Message) -> dict[str, Any]:
    """The message as JSON values under its proto names, fields at their default included."""
    return {
        field.name: _plain_value(field, getattr(message, field.name)) for field in message.DESCRIPTOR.fields
    }


def _value(field: Any, text: str) -> Any:
    # In protobuf's JSON a text may also stand for a number or for the name of an enum's value.
    is_json = field.is_repeated or field.message_type or field.type == FieldDescriptor.TYPE_BOOL
    return json.loads(text) if is_json else text


def _plain_value(field: Any, value: Any) -> Any:
    if not field.is_repeated:
        return plain(value) if field.message_type else value
    return [plain(item) if field.message_type else item for item in value]
