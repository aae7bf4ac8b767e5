"""What several tests without a server begin with."""

from collections.abc import Iterator

import pytest

from tests.support.ops_desk import log_lines
from tests.support.ops_scene import OpsScene


@pytest.fixture
def ops() -> Iterator[OpsScene]:
    """Whatever was done: at the end the records agree with each other, and the log's chain holds."""
    ops = OpsScene()
    yield ops
    ops.scene.audit()
    log_lines(ops.desk)
