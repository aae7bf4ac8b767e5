"""Writes what balance.proto gives: messages, service and type stubs, for the server and for the client.

`make proto` runs it; the client ships on its own, so it has a copy of its own.
"""

import re
import sys
from pathlib import Path

from grpc_tools import protoc

PROTO = Path(__file__).resolve().parent
SERVER, CLIENT = Path("app/rpc/gen"), Path("app/client/gen")
PLUGINS = Path(sys.executable).parent  # of this environment, whatever the PATH says


def generate(root: Path) -> None:
    """Write both copies below this folder."""
    (root / SERVER).mkdir(parents=True, exist_ok=True)
    (root / CLIENT).mkdir(parents=True, exist_ok=True)
    compile_into(root / SERVER)
    for module in (root / SERVER).glob("*_pb2*.py*"):
        text = packaged(module.read_text(encoding="utf-8"))
        module.write_text(text, encoding="utf-8")
        (root / CLIENT / module.name).write_text(apart(text), encoding="utf-8")


def compile_into(folder: Path) -> None:
    # `-I proto balance.proto` keeps the name in the descriptor at `balance.proto`, as callers compiled it.
    failed = protoc.main(
        [
            "protoc",
            f"-I{PROTO}",
            f"--plugin=protoc-gen-mypy={PLUGINS / 'protoc-gen-mypy'}",
            f"--plugin=protoc-gen-mypy_grpc={PLUGINS / 'protoc-gen-mypy_grpc'}",
            f"--python_out={folder}",
            f"--grpc_python_out={folder}",
            f"--mypy_out={folder}",
            f"--mypy_grpc_out={folder}",
            "balance.proto",
        ]
    )
    if failed:
        sys.exit("protoc failed")


def packaged(text: str) -> str:
    """The compiler imports its modules from the top of the path; ours live in packages."""
    return re.sub(r"^import (balance_pb2) as", r"from . import \1 as", text, flags=re.MULTILINE)


def apart(text: str) -> str:
    """The same in a descriptor pool of its own.

    The common pool holds one file of a name: a poker service that has stubs of its own of this contract,
    compiled from another release of it, could not import ours beside them.
    """
    return text.replace("_descriptor_pool.Default().", "_descriptor_pool.DescriptorPool().")


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if sys.argv[1:] else PROTO.parent)
