"""The project's own files, as the house rules look at them."""

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("app", "workers", "scheduler")
GENERATED = ("app/rpc/gen/", "app/client/gen/")


@cache
def files() -> list[str]:
    """What is or would be committed, relative to the root; all visible files where there is no git."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.check_output(command, cwd=ROOT, stderr=subprocess.DEVNULL, text=True).split("\0")
    except (OSError, subprocess.CalledProcessError):
        found = (path.relative_to(ROOT) for path in ROOT.rglob("*"))
        listed = [path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts)]
    return sorted(name for name in set(listed) if (ROOT / name).is_file() and not name.startswith(GENERATED))


def modules(*folders: str) -> list[str]:
    """Python files below the given top folders; without folders, all of them."""
    found = [name for name in files() if name.endswith(".py")]
    return [name for name in found if name.partition("/")[0] in folders] if folders else found


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8", errors="replace")


@cache
def syntax(name: str) -> ast.Module:
    return ast.parse(text(name), filename=name)


def functions(name: str) -> Iterator[tuple[str, int]]:
    """Name and length in lines of each function in a module."""
    for node in ast.walk(syntax(name)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def strings(name: str) -> Iterator[tuple[int, str]]:
    """Line and value of each string that is not a docstring; of an f-string, its constant parts."""
    tree = syntax(name)
    prose = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in prose:
            value = node.value.decode("latin-1") if isinstance(node.value, bytes) else node.value
            if isinstance(value, str):
                yield node.lineno, value
