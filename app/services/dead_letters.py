"""Dead letters in the hands of ops: find them, see what a replay would do, replay, resolve, issue anew.

A replay is the original command under its original key, queued in the commit that notes it in its dead letter
and in the ops log. The worker that carries it out decides by that letter, so nothing here can apply it twice.
"""

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import msgspec

from app.domain.dead_letters import REISSUED, RESOLVED, DeadLetter
from app.domain.decide import decide
from app.domain.outcomes import Answer, Outcome
from app.domain.policy import Policy
from app.domain.requests import Request
from app.domain.state import Decision
from app.services.faults import StoreUnavailable
from app.services.loading import load
from app.services.ops_log import DONE, QUEUED, Deed, OpsLog
from app.services.ports import Store

APPLIED = "APPLIED"
ALREADY_APPLIED = "ALREADY_APPLIED"
REFUSED = "REFUSED"
PARKED = "PARKED"
WAITING = "WAITING"
STOPPED = "STOPPED"
KEY_LOST = "KEY_LOST"
UNDECODABLE = "UNDECODABLE"
CLOSED = "CLOSED"
NOT_FOUND = "NOT_FOUND"
REPLAY, RESOLVE, REISSUE = "dead-letters.replay", "dead-letters.resolve", "dead-letters.reissue"
WAIT_SECONDS = 5.0
LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Which dead letters: each "" or 0 wants all. Times (ms) are those of parking, both ends included."""

    kind: str = ""
    account_id: str = ""
    table_id: str = ""
    error: str = ""
    since: int = 0
    until: int = 0

    def takes(self, letter: DeadLetter) -> bool:
        """Whether a letter is among them; `error` may be any part of its text."""
        return (
            self.kind in ("", letter.kind)
            and self.account_id in ("", letter.account_id)
            and self.table_id in ("", letter.table_id)
            and self.error in letter.error
            and self.since <= letter.parked_at
            and (not self.until or letter.parked_at <= self.until)
        )


class Cause(msgspec.Struct, kw_only=True, rename="camel"):
    """Letters of one kind with one error, numbers in it aside. Chips; times in ms since the epoch."""

    kind: str
    error: str
    count: int = 0
    chips: int = 0
    oldest: int = 0
    newest: int = 0
    example: str = ""


class Treated(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """What became of one letter, or would: a `result` of this module, and what more there is to say."""

    dead_letter_id: str
    result: str
    outcome: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One atomic step with a letter: the letter after it, its line in the log, and what is queued with it.

    With `holds` the step is only taken while nothing is known of that request's key, which is held then.
    """

    after: DeadLetter
    deed: Deed
    message: str = ""
    holds: Request | None = None


class LetterStore(Protocol):
    """Keeps dead letters. Raises StoreUnavailable or StoreRefused."""

    def open_letters(self) -> list[DeadLetter]:
        """All that are parked, of this release's version."""
        ...

    def letter(self, dead_letter_id: str) -> DeadLetter | None:
        """The letter, a closed one too while it is kept."""
        ...

    def take_step(self, dead_letter_id: str, step: Callable[[DeadLetter, int], Step | None]) -> bool:
        """Commit what `step` makes of the open letter at a time (ms): all of it or nothing.

        False when there is no such open letter, or `step` gives None. It is asked again after a conflict.
        """
        ...

    def stopped_kinds(self) -> frozenset[str]:
        """Kinds of commands that a living worker does not take, for too many were faults."""
        ...


class Envelopes(Protocol):
    """The codec of envelopes, as replays need it. All raise ValueError on what cannot be understood."""

    def open_parked(self, letter: DeadLetter) -> Request:
        """The request that the letter's next replay will make."""
        ...

    def replay_message(self, letter: DeadLetter) -> str:
        """The message that replays the letter's command, as its last replay."""
        ...

    def new_message(self, letter: DeadLetter, key: str) -> str:
        """The message that carries the letter's command under another key, as a new one."""
        ...


class DeadLetters:
    """What ops do with dead letters. For one thread, like its stores."""

    def __init__(
        self, letters: LetterStore, log: OpsLog, store: Store, envelopes: Envelopes, policy: Policy
    ) -> None:
        self._letters = letters
        self._log = log
        self._store = store
        self._envelopes = envelopes
        self._policy = policy

    def find(self, wish: Wish) -> list[DeadLetter]:
        """The parked letters that are wished for, in the order in which their commands had come."""
        found = filter(wish.takes, self._letters.open_letters())
        return sorted(found, key=lambda letter: order_of(letter.dead_letter_id))

    def letter(self, dead_letter_id: str) -> DeadLetter | None:
        """One letter, parked or closed."""
        return self._letters.letter(dead_letter_id)

    def foresee(self, dead_letter_id: str, *, force: bool = False) -> Treated:
        """What a replay would do now. Changes nothing."""
        letter = self._letters.letter(dead_letter_id)
        if letter is None:
            return Treated(dead_letter_id=dead_letter_id, result=NOT_FOUND)
        return self._hindered(letter, force=force) or self._decided(letter)

    def replay(
        self,
        ids: Iterable[str],
        who: str,
        why: str,
        *,
        force: bool = False,
        wait_seconds: float = WAIT_SECONDS,
    ) -> list[Treated]:
        """Replay these, in their order, and wait for what becomes of them, up to so many seconds."""
        treated = {each: self._replay_one(each, who, why, force=force) for each in dict.fromkeys(ids)}
        queued = [each for each in treated if treated[each].result == WAITING and not treated[each].detail]
        if queued:
            outcomes = self._outcomes(queued, wait_seconds)
            treated |= outcomes
            for said in sorted({_said(each) for each in outcomes.values()}):
                subjects = tuple(each for each in queued if _said(outcomes[each]) == said)
                self._log.append(Deed(who=who, what=REPLAY, subjects=subjects, why=why, outcome=said))
        return list(treated.values())

    def resolve(self, ids: Iterable[str], who: str, why: str) -> list[Treated]:
        """Close these without a replay. Their keys stay taken: a retry is still told of the dead letter."""
        return [self._resolve_one(each, who, why) for each in dict.fromkeys(ids)]

    def would_resolve(self, dead_letter_id: str) -> Treated:
        """What `resolve` would answer. Changes nothing."""
        letter = self._letters.letter(dead_letter_id)
        if letter is None:
            return Treated(dead_letter_id=dead_letter_id, result=NOT_FOUND)
        if letter.closed:
            return _treated(letter, CLOSED, detail=f"{letter.closed} by {letter.closed_by}")
        return _treated(letter, RESOLVED)

    def reissue(self, dead_letter_id: str, who: str, why: str) -> Treated:
        """Issue the command anew, under a key of its own, where its key was lost."""
        letter = self._letters.letter(dead_letter_id)
        if letter is None:
            return Treated(dead_letter_id=dead_letter_id, result=NOT_FOUND)
        foreseen = self._hindered(letter, force=True) or self._decided(letter)
        if foreseen.result != KEY_LOST:
            return foreseen
        key = f"reissue-{dead_letter_id}"
        request, message = self._envelopes.open_parked(letter), self._envelopes.new_message(letter, key)

        def step(letter: DeadLetter, now: int) -> Step:
            after = letter.ended(REISSUED, who, why, now, new_key=key)
            deed = Deed(who=who, what=REISSUE, subjects=(dead_letter_id, key), why=why, outcome=QUEUED)
            return Step(after=after, deed=deed, message=message, holds=request)

        if self._letters.take_step(dead_letter_id, step):
            return Treated(dead_letter_id=dead_letter_id, result=REISSUED, detail=key)
        return self.foresee(dead_letter_id)

    def _hindered(self, letter: DeadLetter, *, force: bool) -> Treated | None:
        """Why the letter is not to be replayed now, None when it may be."""
        if letter.closed:
            outcome = letter.answer.outcome.value if letter.answer else ""
            return _treated(letter, CLOSED, outcome, f"{letter.closed} by {letter.closed_by}")
        try:
            self._envelopes.open_parked(letter)
        except ValueError as error:
            return _treated(letter, UNDECODABLE, detail=str(error))
        if letter.replaying and not force:
            return _treated(letter, WAITING, detail=f"replay {letter.replaying} is in the queue")
        if letter.kind in self._letters.stopped_kinds() and not force:
            return _treated(letter, STOPPED, detail=f"workers have stopped {letter.kind}: too many faults")
        return None

    def _decided(self, letter: DeadLetter) -> Treated:
        request = self._envelopes.open_parked(letter)
        try:
            state, now = load(self._store, [request], self._policy, 0, [letter.dead_letter_id])
            state.dead_letters[letter.dead_letter_id] = letter.replayed("", "", now)
            decision = decide(state, request, now, self._policy)
        except StoreUnavailable:
            raise
        except Exception as error:
            return _treated(letter, PARKED, detail=f"{type(error).__name__}: {error}")
        if decision.answer.outcome is Outcome.EXPIRED:
            return _treated(letter, KEY_LOST, detail="nothing is known of its key; it may be issued anew")
        if decision.answer.ok and not decision.answer.replayed and not _changes(decision):
            return _treated(letter, ALREADY_APPLIED, decision.answer.outcome)
        return _by_answer(letter, decision.answer)

    def _replay_one(self, dead_letter_id: str, who: str, why: str, *, force: bool) -> Treated:
        letter = self._letters.letter(dead_letter_id)
        if letter is None:
            return Treated(dead_letter_id=dead_letter_id, result=NOT_FOUND)
        if hindered := self._hindered(letter, force=force):
            return hindered
        foreseen = self._decided(letter)
        if foreseen.result == KEY_LOST:
            return foreseen

        def step(letter: DeadLetter, now: int) -> Step | None:
            if letter.replaying and not force:
                return None
            after = letter.replayed(who, why, now)
            deed = Deed(who=who, what=REPLAY, subjects=(dead_letter_id,), why=why, outcome=QUEUED)
            return Step(after=after, deed=deed, message=self._envelopes.replay_message(after))

        if self._letters.take_step(dead_letter_id, step):
            return Treated(dead_letter_id=dead_letter_id, result=WAITING)
        return self.foresee(dead_letter_id)

    def _resolve_one(self, dead_letter_id: str, who: str, why: str) -> Treated:
        def step(letter: DeadLetter, now: int) -> Step:
            deed = Deed(who=who, what=RESOLVE, subjects=(dead_letter_id,), why=why, outcome=DONE)
            return Step(after=letter.ended(RESOLVED, who, why, now), deed=deed)

        if self._letters.take_step(dead_letter_id, step):
            return Treated(dead_letter_id=dead_letter_id, result=RESOLVED)
        return self.would_resolve(dead_letter_id)

    def _outcomes(self, ids: list[str], wait_seconds: float) -> dict[str, Treated]:
        """What became of these replays; WAITING where that is not known in time."""
        until = time.monotonic() + wait_seconds
        found: dict[str, Treated] = {}
        while True:
            for each in ids:
                if each not in found and (treated := self._outcome(each)) is not None:
                    found[each] = treated
            if len(found) == len(ids) or time.monotonic() >= until:
                return {each: found.get(each) or Treated(dead_letter_id=each, result=WAITING) for each in ids}
            time.sleep(LOOK_SECONDS)

    def _outcome(self, dead_letter_id: str) -> Treated | None:
        letter = self._letters.letter(dead_letter_id)
        if letter is None or letter.replaying:
            return None
        if letter.answer is not None:
            return _by_answer(letter, letter.answer)
        last = letter.replays[-1]
        return _treated(letter, letter.closed or PARKED, last.outcome, last.error)


def causes_of(letters: Iterable[DeadLetter]) -> list[Cause]:
    """The letters grouped by what went wrong, the most frequent first."""
    found: dict[tuple[str, str], Cause] = {}
    for letter in letters:
        error = re.sub(r"[0-9]+", "#", letter.error)
        cause = found.setdefault((letter.kind, error), Cause(kind=letter.kind, error=error))
        cause.count += 1
        cause.chips += letter.amount
        cause.oldest = min(cause.oldest or letter.parked_at, letter.parked_at)
        cause.newest = max(cause.newest, letter.parked_at)
        cause.example = cause.example or letter.dead_letter_id
    return sorted(found.values(), key=lambda each: (-each.count, each.kind, each.error))


def order_of(dead_letter_id: str) -> tuple[int, int, int, str, int]:
    """The order in which commands had come, as their letters' ids tell it: by arrival, queue and place."""
    partition, lane, milliseconds, number, index = dead_letter_id.split("-")
    return int(milliseconds), int(number), int(partition), lane, int(index)


def _changes(decision: Decision) -> bool:
    return bool(decision.accounts or decision.reservations or decision.tables or decision.pot)


def _by_answer(letter: DeadLetter, answer: Answer) -> Treated:
    if answer.ok:
        result = ALREADY_APPLIED if answer.replayed else APPLIED
        return _treated(letter, result, answer.outcome, answer.transaction_id or answer.reservation_id)
    return _treated(letter, REFUSED, answer.outcome, answer.detail)


def _treated(letter: DeadLetter, result: str, outcome: str = "", detail: str = "") -> Treated:
    return Treated(dead_letter_id=letter.dead_letter_id, result=result, outcome=str(outcome), detail=detail)


def _said(treated: Treated) -> str:
    return treated.result if treated.outcome in ("", Outcome.OK) else f"{treated.result} {treated.outcome}"
