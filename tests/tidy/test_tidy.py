"""House rules that no linter knows. Each failure names the file, and each rule says why it is one."""

import ast
import re
import statistics
import tomllib

import pytest

from tests.tidy.tree import PRODUCT, files, functions, modules, strings, syntax, text

LONGEST_FILE = 400
LONGEST_FUNCTION = 70
MOST_FUNCTIONS = 30


@pytest.mark.parametrize("name", modules(*PRODUCT))
def test_a_module_says_in_its_first_lines_what_it_is_for(name: str) -> None:
    """Whoever opens a file learns its purpose, and what it must not do, before its code."""
    assert ast.get_docstring(syntax(name)), f"{name} does not begin with a docstring"


@pytest.mark.parametrize("name", [name for name in files() if name.endswith((".py", ".lua"))])
def test_a_file_fits_in_one_head(name: str) -> None:
    """A file beyond the limit holds two concepts: give the second one a file of its own."""
    lines = len(text(name).splitlines())
    assert lines <= LONGEST_FILE, f"{name} has {lines} lines, the limit is {LONGEST_FILE}"


@pytest.mark.parametrize("name", modules())
def test_a_function_fits_on_one_page(name: str) -> None:
    """A function beyond the limit does two things: name the second one."""
    too_long = {function: lines for function, lines in functions(name) if lines > LONGEST_FUNCTION}
    assert not too_long, f"{name}: beyond {LONGEST_FUNCTION} lines: {too_long}"


def test_nine_functions_of_ten_are_short() -> None:
    """The limit above is for the exception; this one is for the habit."""
    lengths = [lines for name in modules(*PRODUCT) for _, lines in functions(name)]
    ninth_decile = statistics.quantiles(lengths, n=10, method="inclusive")[-1]
    assert ninth_decile <= MOST_FUNCTIONS, f"the 90th percentile is {ninth_decile} lines"


@pytest.mark.parametrize("name", [name for name in modules("app") if name.startswith("app/domain/")])
def test_the_domain_counts_chips_in_integers(name: str) -> None:
    """A float loses a chip beyond 2^53, and a true division makes one: use // and say where the rest goes."""
    floats = [ast.unparse(node) for node in ast.walk(syntax(name)) if makes_a_float(node)]
    assert not floats, f"{name}: a float or a true division: {floats}"


def makes_a_float(node: ast.AST) -> bool:
    match node:
        case ast.Constant(value=float()) | ast.Name(id="float"):
            return True
        case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
            return True
    return False


# JWT scopes share the prefix of the keys.
KEY_NAME = re.compile(r"\bbalance:(?!(service|ops)\b)")
LUA_COMMENT = re.compile(r"--\[\[.*?\]\]|--[^\n]*", re.DOTALL)


@pytest.mark.parametrize("name", [name for name in modules(*PRODUCT) if name != "app/storage/keys.py"])
def test_key_names_are_built_in_one_module(name: str) -> None:
    """Who looks for a key of the store finds it in app/storage/keys.py, and renames it there for all."""
    built = [line for line, value in strings(name) if KEY_NAME.search(value)]
    assert not built, f"{name}: key names in lines {built}"


@pytest.mark.parametrize("name", [name for name in files() if name.endswith(".lua")])
def test_a_function_of_the_store_is_passed_every_key(name: str) -> None:
    """A cluster routes a call by the keys it is given, so Lua builds no name; its head documents them."""
    code = LUA_COMMENT.sub("", text(name))
    built = [line.strip() for line in code.splitlines() if KEY_NAME.search(line)]
    assert not built, f"{name}: key names in {built}"


NOTE_TO_SELF = re.compile(r"\b(T[O]DO|F[I]XME|X{3})\b")
SOMEONES_HOME = re.compile(r"/(home|root|Users)[/]")


@pytest.mark.parametrize("name", files())
def test_nothing_is_left_for_later_or_bound_to_one_machine(name: str) -> None:
    """Open work belongs in an issue, where it has an owner; a home folder exists on one machine only."""
    for number, line in enumerate(text(name).splitlines(), start=1):
        assert not NOTE_TO_SELF.search(line), f"{name}:{number} leaves a note to self: {line.strip()}"
        assert not SOMEONES_HOME.search(line), f"{name}:{number} names somebody's folder: {line.strip()}"


def test_the_changelog_begins_with_this_version() -> None:
    """A release whose changes nobody wrote down cannot be judged by those who upgrade."""
    version = tomllib.loads(text("pyproject.toml"))["project"]["version"]
    sections = re.findall(r"^## \[(.+?)\]", text("CHANGELOG.md"), re.MULTILINE)
    assert sections[:1] in ([version], ["Unreleased"]), (
        f"the version is {version}, the sections are {sections}"
    )


LOCKS = ("requirements.lock", "requirements-otel.lock", "requirements-dev.lock")


def pins(lock: str) -> set[str]:
    return {line.partition(" ")[0] for line in text(lock).splitlines() if re.match(r"\w", line)}


def test_both_locks_pin_the_same_versions() -> None:
    """What is tested is what runs: `make lock` writes both."""
    runtime, traced, dev = map(pins, LOCKS)
    assert runtime, "requirements.lock pins nothing"
    assert runtime <= traced, f"pinned otherwise with traces: {sorted(runtime - traced)}"
    assert traced <= dev, f"pinned otherwise for tests: {sorted(traced - dev)}"


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_host(lock: str) -> None:
    """Whoever installs brings their own index; the hashes hold whichever it is."""
    assert "://" not in text(lock), f"{lock} names a host"
