"""What the deployment files say is run: commands, environments and health checks, read from the files."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from tests.tidy.tree import ROOT

DOCKERFILE = ROOT / "ops" / "Dockerfile"
COMPOSE = ROOT / "ops" / "compose.yaml"
MANIFESTS = sorted((ROOT / "ops" / "kubernetes").glob("*.yaml"))
_INSTRUCTION = re.compile(r"^(?:HEALTHCHECK .*)?CMD (\[.*\])$", re.MULTILINE)


@dataclass(frozen=True)
class Container:
    """A process of ours, as one of the files has it run."""

    name: str
    command: tuple[str, ...]
    health: tuple[str, ...] = ()
    environ: dict[str, str] = field(default_factory=dict)


def compose_services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]
    return found


def composed() -> Iterator[Container]:
    """The services of the compose file that are processes of ours."""
    for name, service in compose_services().items():
        if "build" in service:
            kind, *health = service["healthcheck"]["test"]
            assert kind == "CMD"
            yield Container(name, tuple(service["command"]), tuple(health), service["environment"])


def dockerfile_commands() -> list[tuple[str, ...]]:
    """Health check and command of the image, in the order in which they stand there."""
    return [tuple(json.loads(words)) for words in _INSTRUCTION.findall(DOCKERFILE.read_text())]


def lock_of_the_image() -> str:
    """The file of locked requirements that the image is made from."""
    (found,) = re.findall(r"--require-hashes -r (\S+)", DOCKERFILE.read_text())
    return str(found)


def manifests() -> list[dict[str, Any]]:
    """Every object for Kubernetes."""
    return [each for path in MANIFESTS for each in yaml.safe_load_all(path.read_text())]


def orchestrated() -> Iterator[Container]:
    """The processes of ours that Kubernetes runs; `health` where the probe is a command."""
    for each in manifests():
        if each["kind"] == "Deployment":
            (container,) = each["spec"]["template"]["spec"]["containers"]
            probe = container["readinessProbe"].get("exec", {}).get("command", ())
            yield Container(container["name"], tuple(container["command"]), tuple(probe))
