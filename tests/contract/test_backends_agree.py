"""Whatever a program does, the twin answers as the real server does, and keeps the same."""

from typing import Any

from hypothesis import HealthCheck, given, settings

from app.storage import keys
from tests.support.grounds import Dump, RealGround, TwinGround
from tests.support.programs import Run, Step, programs

PARTITION_PREFIX = keys.partition(0).partition("{")[0]


def comparable(dump: Dump) -> dict[str, Any]:
    """What is kept, without what a clock has put there."""
    found: dict[str, Any] = {}
    for key, kept in dump.items():
        content = kept.value
        if kept.type == "stream":
            content = [payload for _, payload in content]
        elif key == keys.WORKERS:
            content = set(content)
        elif key.startswith(PARTITION_PREFIX):
            content = {name: value for name, value in content.items() if name != "until"}
        elif key == keys.SCHEDULER:
            content = {
                name: value.partition(b" ")[0]
                for name, value in content.items()
                if name not in ("since", "until")
            }
        found[key] = (kept.type, content, bool(kept.expires_at))
    return found


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=programs)
def test_the_twin_is_as_the_server(real_ground: RealGround, program: list[Step]) -> None:
    """
    Given any program of reads, commits and calls, of which some are wrong
    Expect the same replies and refusals, step by step, and the same keyspace at the end.
    """
    real_ground.empty()
    twin_ground = TwinGround()
    twin, real = Run(twin_ground.backend()), Run(real_ground.backend())
    for step in program:
        assert twin.do(step) == real.do(step)
    assert comparable(twin_ground.dump()) == comparable(real_ground.dump())
    real.backend.close()
