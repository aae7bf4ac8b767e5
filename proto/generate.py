"""Writes app/rpc/gen from balance.proto: messages, service and their type stubs (`make proto`)."""

import re
import sys
from pathlib import Path

from grpc_tools import protoc

PROTO = Path(__file__).resolve().parent
GENERATED = PROTO.parent / "app" / "rpc" / "gen"
PLUGINS = Path(sys.executable).parent  # of this environment, whatever the PATH says


def generate() -> None:
    # `-I proto balance.proto` keeps the name in the descriptor at `balance.proto`, as callers compiled it.
    failed = protoc.main(
        [
            "protoc",
            f"-I{PROTO}",
            f"--plugin=protoc-gen-mypy={PLUGINS / 'protoc-gen-mypy'}",
            f"--plugin=protoc-gen-mypy_grpc={PLUGINS / 'protoc-gen-mypy_grpc'}",
            f"--python_out={GENERATED}",
            f"--grpc_python_out={GENERATED}",
            f"--mypy_out={GENERATED}",
            f"--mypy_grpc_out={GENERATED}",
            "balance.proto",
        ]
    )
    if failed:
        sys.exit("protoc failed")
    for module in GENERATED.glob("*_pb2*.py*"):
        text = module.read_text(encoding="utf-8")
        module.write_text(packaged(text), encoding="utf-8")


def packaged(text: str) -> str:
    """The compiler imports its modules from the top of the path; ours live in a package."""
    return re.sub(r"^import (balance_pb2) as", r"from app.rpc.gen import \1 as", text, flags=re.MULTILINE)


if __name__ == "__main__":
    generate()
