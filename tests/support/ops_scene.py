"""A scene with ops in it: commands are parked by a planted fault, which is mended some day."""

import pytest

from app.domain.commands import Command, Deposit
from app.domain.outcomes import Answer
from app.domain.rules.case import Case
from app.domain.state import Decision
from app.services.operations import OpsDesk
from tests.support.domain import replace_rule
from tests.support.ops_desk import desk_on
from tests.support.scene import (
    ALICE,
    Owner,
    Scene,
    ScriptedBackend,
    sealed,
)

UNLUCKY = Deposit(account_id=ALICE, amount=13)
YEAR = 365 * 86_400_000


class Planted:
    """A mistake in a rule, for amounts of 13 chips, until it is mended."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, kind: type[Command]) -> None:
        self.mended = False
        self._rule = replace_rule(monkeypatch, kind, self)

    def __call__(self, case: Case, command: Command) -> Decision:
        if not self.mended and getattr(command, "amount", 13) == 13:
            raise ZeroDivisionError("canary")
        return self._rule(case, command)


class OpsScene:
    """A scene with ops in it: their desk, on a connection of its own, and a worker."""

    def __init__(self) -> None:
        self.scene = Scene()
        self.backend = ScriptedBackend(self.scene.server)
        self.desk: OpsDesk = desk_on(self.backend)
        self.letters = self.desk.dead_letters
        self.owner: Owner = self.scene.owner()

    def park(self, *commands: tuple[Command, str]) -> list[str]:
        """The ids of the dead letters that these became, each in a message of its own."""
        messages = [self.scene.send(sealed(command, key)) for command, key in commands]
        self.owner.work()
        return [self.scene.answers(message)[0].detail for message in messages]

    def retry(self, command: Command, key: str = "k") -> Answer:
        """What a caller is answered who sends the command now."""
        message = self.scene.send(sealed(command, key))
        self.owner.work()
        return self.scene.answers(message)[0]

    def result(self, dead_letter_id: str) -> tuple[str, str]:
        """How the letter is closed, and with which outcome; how its last replay ended where it is not."""
        letter = self.letters.letter(dead_letter_id)
        assert letter is not None
        return letter.closed, letter.answer.outcome if letter.answer else letter.replays[-1].outcome
