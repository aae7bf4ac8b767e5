"""`python -m tests.mutants.run [NAME...]`: plants one bug after the other in a copy of the code.

A bug that no test notices survives, and fails the run; so do tests that fail without any bug.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.mutants.catalogue import ROOT, Mutant, mutants

COPIED = ("app", "workers", "scheduler", "tests", "proto", "ops", "setup.cfg", "pyproject.toml")
TEST_SECONDS = 30
RUN_SECONDS = 120
WHOLE_RUN_SECONDS = 1_200
"""For all tests that any bug names, which must pass without one."""
PASSED, FAILED = 0, 1
"""What pytest ends with; anything else means that it could not test at all."""

_FAILURE = re.compile(r"^(?:FAILED|ERROR) (tests/.+?)(?: - .*)?$", re.MULTILINE)


def main() -> int:
    """Plant what is asked for; 0 when everything was caught."""
    known = {mutant.name: mutant for mutant in mutants()}
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.run", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these; all of them by default")
    parser.add_argument("--list", action="store_true", help="say what each bug is, and plant none")
    asked = parser.parse_args()
    if unknown := set(asked.names) - known.keys():
        parser.error(f"no such bug: {', '.join(sorted(unknown))}")
    chosen = [known[name] for name in asked.names or known]
    if asked.list:
        for mutant in chosen:
            _say(f"{mutant.name:30} {mutant.bug}")
        return 0
    with _copy() as folder:
        return _run(folder, chosen)


def _run(folder: Path, chosen: list[Mutant]) -> int:
    began = time.monotonic()
    selection = sorted({test for mutant in chosen for test in mutant.tests})
    exit_code, output = _test(folder, selection, os.environ, WHOLE_RUN_SECONDS)
    if exit_code != PASSED:
        _say(f"{output}\nthese tests fail without any bug: nothing can be said about the bugs")
        return 1
    _say(f"without a bug all is well ({time.monotonic() - began:.0f} s)")
    survivors = [mutant for mutant in chosen if not _is_caught(folder, mutant)]
    for mutant in survivors:
        _say(f"not caught: {mutant.name}: {mutant.bug} ({mutant.file})")
    caught = len(chosen) - len(survivors)
    _say(f"{caught} of {len(chosen)} bugs were caught, in {time.monotonic() - began:.0f} s")
    return 1 if survivors else 0


def _is_caught(folder: Path, mutant: Mutant) -> bool:
    began = time.monotonic()
    with _planted(folder, mutant):
        exit_code, output = _test(folder, mutant.tests, os.environ | {"PYTHONDONTWRITEBYTECODE": "1"})
    seconds = time.monotonic() - began
    match exit_code:
        case 0:
            verdict, detail = "SURVIVED", ""
        case 1:
            found = _FAILURE.search(output)
            verdict, detail = "caught", found[1] if found else ""
        case _:
            verdict, detail = "UNTESTED", f"\n{output}"
    _say(f"{verdict:9}{seconds:5.1f} s  {mutant.name:30} {detail}")
    return exit_code == FAILED


@contextmanager
def _copy() -> Iterator[Path]:
    """The code in a folder of its own, so that no bug can stay behind in this one."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        for each in COPIED:
            source, target = ROOT / each, Path(name) / each
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "secrets"))
            else:
                shutil.copy2(source, target)
        yield Path(name)


@contextmanager
def _planted(folder: Path, mutant: Mutant) -> Iterator[None]:
    """The bug in its file; afterwards the file as it was, its time too, which compiled code goes by."""
    target = folder / mutant.file
    original, times = target.read_text(encoding="utf-8"), target.stat()
    target.write_text(mutant.plant(original), encoding="utf-8")
    try:
        yield
    finally:
        target.write_text(original, encoding="utf-8")
        os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))


def _test(
    folder: Path, selection: list[str], environ: Mapping[str, str], seconds: float = RUN_SECONDS
) -> tuple[int | None, str]:
    """What pytest ends with, None when it takes too long, and what it says."""
    options = ["-x", "-q", "--tb=short", f"--timeout={TEST_SECONDS}", "-pno:cacheprovider"]
    try:
        run = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *selection],
            cwd=folder,
            env=environ,
            capture_output=True,
            check=False,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return None, f"no end after {seconds} s"
    return run.returncode, run.stdout + run.stderr


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
