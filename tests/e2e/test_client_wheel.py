"""The client as others get it: a wheel, alone in an empty environment, before the real service."""

import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.support.service import RunningService
from tests.tidy.tree import ROOT

CLIENT = ROOT / "app" / "client"
PIP = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "--quiet"]

BUY_IN = """
import sys, balance_client
assert "app" not in sys.modules
with balance_client.BalanceClient(sys.argv[1], token=sys.argv[2]) as client:
    client.ensure_account("wheel", 1000)
    cashier = balance_client.SeatCashier(client)
    join = balance_client.Join("wheel-1", "wheel", "t1", 400)
    print(cashier.join_seat(join, lambda: True, lambda: None).new_balance)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as `make client` builds it, from a copy: building leaves files beside the source."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = shutil.copytree(CLIENT, folder / "client", ignore=shutil.ignore_patterns("__pycache__"))
    build = [
        *PIP,
        "wheel",
        "--no-deps",
        "--no-index",
        "--no-build-isolation",
        "--wheel-dir",
        str(folder),
        str(copy),
    ]
    subprocess.run(build, check=True, timeout=100)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that holds the wheel and the locked versions of what it asks for.

    They are copied from this environment instead of fetched; pip then finds every requirement met, or fails.
    """
    folder = tmp_path_factory.mktemp("empty")
    venv.create(folder, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))
    for needed in {each.name: each for each in needs(Distribution.at(unpacked_metadata(wheel)))}.values():
        copy_distribution(needed, packages)
    found = folder / "bin" / "python"
    install = [*PIP, "--python", str(found), "install", "--no-index", "--no-cache-dir", str(wheel)]
    subprocess.run(install, check=True, timeout=100)
    return found


def unpacked_metadata(wheel: Path) -> Path:
    with ZipFile(wheel) as archive:
        archive.extractall(wheel.parent / "unpacked")
    (found,) = (wheel.parent / "unpacked").glob("*.dist-info")
    return found


def needs(wanting: Distribution) -> Iterator[Distribution]:
    """What a distribution requires, whatever it asks for in turn included."""
    for line in wanting.requires or ():
        if "extra ==" not in line:
            found = distribution(re.split(r"[^\w.-]", line, maxsplit=1)[0])
            yield found
            yield from needs(found)


def copy_distribution(found: Distribution, packages: Path) -> None:
    for file in found.files or ():
        if ".." not in file.parts:
            (packages / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(str(file.locate()), packages / file)


def run(python: Path, *arguments: str, cwd: Path) -> str:
    return subprocess.check_output([str(python), "-I", *arguments], text=True, cwd=cwd, timeout=60)


def test_the_wheel_alone_buys_in(python: Path, service: RunningService, tmp_path: Path) -> None:
    """Nothing of this repository is on its path, and no name of it meets the poker service's own `app`."""
    assert run(python, "-c", BUY_IN, service.grpc, service.token, cwd=tmp_path) == "600\n"


def test_what_the_readme_says_is_true(python: Path, service: RunningService, tmp_path: Path) -> None:
    """Its examples run, one after the other, as a reader would type them."""
    examples = re.findall(r"```python\n(.*?)```", (CLIENT / "README.md").read_text(), re.DOTALL)
    assert len(examples) == 5
    program = "\n".join(examples).replace("127.0.0.1:50051", service.grpc)
    run(python, "-c", program, cwd=tmp_path)


def test_the_wheel_holds_what_it_says(wheel: Path) -> None:
    """Modules, stubs and their types; released with the service, under its version."""
    with ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if name.startswith("balance_client/")}
        metadata = next(
            archive.read(name).decode() for name in archive.namelist() if name.endswith("/METADATA")
        )
    source = {path for pattern in ("*.py", "*.pyi", "py.typed") for path in CLIENT.rglob(pattern)}
    assert names == {f"balance_client/{path.relative_to(CLIENT).as_posix()}" for path in source}
    assert f"\nVersion: {distribution('balance-service').version}\n" in metadata
    assert "# Balance client" in metadata
