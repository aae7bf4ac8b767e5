"""The files that deploy the service are what their tools take, and agree with one another."""

import re
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest

from tests.support.deploying import (
    COMPOSE,
    DOCKERFILE,
    Container,
    compose_services,
    composed,
    dockerfile_commands,
    manifests,
    orchestrated,
)
from tests.tidy.tree import ROOT

BIN = Path(sys.executable).parent
PINNED = re.compile(r".+:v?\d+\.\d+\.\d+(-[a-z-]+)?")


@pytest.mark.parametrize(
    "check",
    [("hadolint", DOCKERFILE), ("check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE)],
)
def test_their_own_tools_take_them(check: tuple[str | Path, ...]) -> None:
    """Without a warning."""
    tool, *arguments = check
    found = subprocess.run([BIN / tool, *arguments], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("each", manifests(), ids=lambda each: f"{each['kind']}-{each['metadata']['name']}")
def test_kubernetes_takes_its_manifests(each: dict[str, object]) -> None:
    """Strictly: a field that it does not know would be ignored, and so would its purpose."""
    kubernetes_validate.validate(each, "1.37", strict=True)


def test_every_image_has_its_version() -> None:
    """What is deployed twice is the same twice."""
    images = [service["image"] for service in compose_services().values()]
    for each in manifests():
        template = each.get("spec", {}).get("template", {})
        images += [container["image"] for container in template.get("spec", {}).get("containers", ())]
    images += re.findall(r"^FROM (\S+)", DOCKERFILE.read_text(), re.MULTILINE)
    assert len(images) > 10
    assert [image for image in images if not PINNED.fullmatch(image)] == []


def test_the_image_is_given_what_it_copies() -> None:
    """What the ignore file keeps out is not there when the image is built."""
    kept, *let_in = (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text().split()
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE.read_text(), re.MULTILINE)
    sources = {source for line in copied for source in line.split()}
    assert kept == "*"
    assert {f"!{source}" for source in sources} == {each for each in let_in if each.startswith("!")}
    assert [source for source in sources if not (ROOT / source).exists()] == []


def test_both_run_the_same_processes() -> None:
    """One list of commands, whatever runs them; the image alone is one of these."""
    by_compose = {each.name: each for each in composed()}
    for each in orchestrated():
        assert each.command == by_compose[each.name].command
        assert each.health in {(), by_compose[each.name].health}
    assert {each.name for each in orchestrated()} == set(by_compose)
    health, command = dockerfile_commands()
    assert Container("http", command, health, by_compose["http"].environ) == by_compose["http"]


def test_every_file_that_is_mounted_is_there() -> None:
    """A folder would be made in its place, and the service start without it."""
    for name, service in compose_services().items():
        for volume in service.get("volumes", ()):
            source = str(volume).partition(":")[0]
            if source.startswith("."):
                assert (ROOT / "ops" / source).exists(), f"{name}: {source}"
