"""What ops work with, on the twin or on a real store, and what they read there."""

from app.bootstrap import ops_desk
from app.config import Settings
from app.services.dead_letters import DeadLetters
from app.services.operations import OpsDesk
from app.services.ops_log import OpsLine
from app.storage.backend import Backend
from tests.support.carrying import PARTITIONS

OLGA = "olga"
MENDED = "the mistake is mended"


def desk_on(backend: Backend) -> OpsDesk:
    """The desk of a front end whose settings are the default ones."""
    return ops_desk(backend, Settings(partitions=PARTITIONS))


def replay(letters: DeadLetters, *ids: str, force: bool = False) -> list[str]:
    """Ask for replays and wait for none; how each was answered."""
    treated = letters.replay(ids, OLGA, MENDED, force=force, wait_seconds=0)
    return [each.result for each in treated]


def log_lines(desk: OpsDesk) -> list[OpsLine]:
    """The whole ops log, oldest first; its chain holds."""
    report = desk.log.verify()
    assert report.ok, report.problem
    lines = [each.line for each in desk.log.lines(0, 1_000)][::-1]
    assert len(lines) == report.lines
    return lines
