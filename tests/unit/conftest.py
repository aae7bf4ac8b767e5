"""What tests without a server begin with; assertions in builders explain themselves as those in tests do."""

from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("tests.support.domain", "tests.support.pots")

from tests.support.ops_desk import log_lines  # noqa: E402 - after the line above
from tests.support.ops_scene import OpsScene  # noqa: E402


@pytest.fixture
def ops() -> Iterator[OpsScene]:
    """Whatever was done: at the end the records agree with each other, and the log's chain holds."""
    ops = OpsScene()
    yield ops
    ops.scene.audit()
    log_lines(ops.desk)
