"""Carries out units of work: load, decide, commit. An answer exists if and only if its commit does.

Faults of ours are kept from the rest of the unit; the store's absence is not handled here but raised, and
the queue still holds whatever was not committed.
"""

import logging
import random
import time
from collections.abc import Callable

from app.domain.commands import ExpireReservation, SettlePot
from app.domain.decide import decide
from app.domain.outcomes import Answer, Outcome
from app.domain.policy import Policy
from app.domain.replays import stored_answer
from app.domain.state import State
from app.services.changes import AccountChange, Changes
from app.services.faults import StoreRefused, StoreUnavailable
from app.services.loading import accounts_of, load
from app.services.parking import park
from app.services.ports import Store
from app.services.settling import answer_to_keep, note
from app.services.stops import FaultWatch, Limits
from app.services.work import Delivery, Unit, Work

MAX_TRIES_ALONE = 3
"""A command found marked for the third time after unclean takeovers kills processes: it is parked unrun.

Unless its key has its outcome: then there is nothing to run, and the workers died beside it, not of it.
"""
MAX_LOOKS_ALONE = 5
"""Found marked more often than that it is parked without a look for its outcome: that may be what kills."""
MAX_SHARED_CONFLICTS = 2
"""Conflicts of a unit before its commands get commits of their own."""
CONFLICT_JITTER_SECONDS = 0.01

OFF = Limits(commands=1, most_faults=1)
"""No number of faults stops a kind."""

_log = logging.getLogger(__name__)


class Execution:
    """Runs units on a store under a policy. One per worker thread.

    With a watch a kind of command of which too many are faults is left in its queue instead of being parked.
    `progressed` is called whenever the store has taken something that a unit writes: it is not stuck then.
    """

    def __init__(
        self,
        store: Store,
        policy: Policy,
        watch: FaultWatch | None = None,
        progressed: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._policy = policy
        self._watch = watch or FaultWatch(OFF)
        self._progressed = progressed
        self._unit = Unit([])
        self._last_now = 0

    def run(self, unit: Unit) -> frozenset[int]:
        """Answer every command of the unit that is ours; the partitions found to have another owner.

        Raises StoreUnavailable when the store went away in between: what was committed is answered and gone
        from the queue, the rest is still there. So is what a safety stop holds: the unit is abandoned then.
        """
        self._unit = unit
        self._settle([work for each in unit.deliveries if not each.careful for work in each.works])
        for delivery in unit.deliveries:
            if delivery.careful:
                self._run_alone(delivery)
        unit.abandoned |= any(delivery.held for delivery in unit.deliveries)
        return frozenset(delivery.partition for delivery in unit.deliveries if delivery.lost)

    def _run_alone(self, delivery: Delivery) -> None:
        for work in delivery.works:
            if delivery.held:
                return
            times = None if delivery.lost else self._store.mark_trying(work)
            if times is None:
                delivery.lost = True
                return
            self._progressed()
            if times > MAX_LOOKS_ALONE or (times >= MAX_TRIES_ALONE and not self._has_outcome(work)):
                work.condemn(f"its worker died {times - 1} times while it ran")
            work.marked = times > 0
            self._settle([work])
            work.marked = False

    def _has_outcome(self, work: Work) -> bool:
        """True when the command's key has its outcome from another message: there is nothing left to run."""
        request = work.request
        if request is None:
            return False
        try:
            state, _ = load(self._store, [request], self._policy, self._last_now)
            return stored_answer(state, request) is not None
        except StoreUnavailable:
            raise
        except Exception:
            _log.exception("whether a command has its outcome cannot be told", extra=work.about)
            return False

    def _settle(self, works: list[Work]) -> None:
        conflicts = 0
        while todo := [work for work in works if work.open]:
            try:
                conflicts += self._attempt(todo)
            except StoreUnavailable:
                raise
            except StoreRefused as refused:
                self._isolate(todo, str(refused))
            except Exception as error:
                _log.exception("a unit met a fault of ours")
                self._isolate(todo, f"{type(error).__name__}: {error}")
            if conflicts > MAX_SHARED_CONFLICTS:
                time.sleep(random.uniform(0, CONFLICT_JITTER_SECONDS))  # noqa: S311 - jitter, not a secret
                if len(todo) > 1:
                    for work in todo:
                        self._settle([work])

    def _isolate(self, works: list[Work], reason: str) -> None:
        """A load or a commit that these works share has failed: halve them until the culprit is alone."""
        for work in works:
            work.answer = None  # decided, perhaps, but not written
        if len(works) > 1:
            middle = len(works) // 2
            self._settle(works[:middle])
            self._settle(works[middle:])
        elif works[0].parking_reason:
            raise StoreUnavailable(f"a command can be neither carried out nor parked: {reason}")
        else:
            _log.error("a command can be neither loaded nor committed: %s", reason, extra=works[0].about)
            works[0].condemn(reason)

    def _attempt(self, works: list[Work]) -> bool:
        """One load, decide, commit. True on a conflict; whatever is still open is to be tried again."""
        requests = [work.request for work in works if work.request and not work.parking_reason]
        letters = [work.request.replay_of for work in works if work.request and work.request.replay_of]
        not_before = max(self._last_now, *(work.delivery.not_before for work in works))
        state, now = load(self._store, requests, self._policy, not_before, letters)
        changes = Changes()
        self._freeze_broken(state, changes)
        decided = self._decide(works, state, changes, now)
        if not decided and not changes.accounts:
            return False
        deliveries = list(dict.fromkeys(work.delivery for work in works))
        result = self._store.commit(changes, deliveries, now)
        if result.applied:
            self._progressed()
            self._last_now = now
            self._count_good(decided)
            return False
        for work in decided:
            work.answer = None
        for delivery in deliveries:
            delivery.lost = delivery.lost or delivery.partition in result.lost
        return result.conflict

    def _decide(self, works: list[Work], state: State, changes: Changes, now: int) -> list[Work]:
        """Give each work its answer, in order. What met a fault, and what waits for that, stays open."""
        waiting: set[str] = set()
        decided = []
        for work in works:
            if not work.open:
                continue
            if work.parking_reason:
                if _comes_again(work):
                    _log.error("a hold is not ended: %s", work.parking_reason, extra=work.about)
                    work.answer = Answer(outcome=Outcome.DROPPED)
                    decided.append(work)
                    continue
                if not self._may_park(work):
                    self._hold(work)
                    continue
                _log.error("a command is parked: %s", work.parking_reason, extra=work.about)
                work.answer = park(work, state, changes, now)
                note(work, work.answer, changes, state)
                decided.append(work)
                continue
            request = work.request
            if request is None:
                raise ValueError("a work without a request must say why")
            orders = accounts_of(request, state)
            if not waiting.isdisjoint(orders):
                waiting |= {*orders, request.record_id}
                continue
            try:
                decision = decide(state, request, now, self._policy)
            except Exception as error:
                _log.exception("%s met a fault of ours", request.command.kind, extra=work.about)
                work.faults.append(f"{type(error).__name__}: {error}")
                # A Commit names only the reservation that this may yet make.
                waiting |= {*orders, request.record_id}
                continue
            if isinstance(request.command, SettlePot) and decision.answer.outcome is Outcome.ACCOUNT_FROZEN:
                table_id = request.aggregate_id
                _log.critical("ALARM a pot of table %s cannot be paid: an account is frozen", table_id)
            changes.add(state, request, decision)
            state.apply(decision, request)
            work.answer = decision.answer
            if (told := answer_to_keep(request, decision)) is not None:
                note(work, told, changes, state)
            decided.append(work)
        return decided

    def _may_park(self, work: Work) -> bool:
        """Whether there were not too many faults of that kind. What nobody can read is no fault of ours."""
        if work.request is not None and not work.admitted:
            work.admitted = self._watch.may_park(work.request.command.kind, work.parking_reason)
        return work.admitted or work.request is None

    def _hold(self, work: Work) -> None:
        """Leave its message in the queue, and all that is behind it there: their order stays."""
        assert work.request is not None  # noqa: S101  # else it may be parked
        kind, reason = work.request.command.kind, work.parking_reason
        _log.critical("ALARM no %s is taken any more, too many were faults: %s", kind, reason)
        held, deliveries = work.delivery, self._unit.deliveries
        for delivery in deliveries[deliveries.index(held) :]:
            delivery.held |= (delivery.partition, delivery.lane) == (held.partition, held.lane)

    def _count_good(self, decided: list[Work]) -> None:
        for work in decided:
            answer = work.answer
            if work.request and answer and answer.outcome is not Outcome.DEAD_LETTERED:
                self._watch.good(work.request.command.kind)

    def _freeze_broken(self, state: State, changes: Changes) -> None:
        for account_id, reason in state.broken.items():
            about = {"account": account_id}
            _log.critical(
                "ALARM account %s is frozen: its ledger is broken: %s", account_id, reason, extra=about
            )
            if (account := state.accounts[account_id]) is not None:
                changes.accounts[account_id] = AccountChange(account, account)


def _comes_again(work: Work) -> bool:
    """Whether the scheduler brings the command again by itself: then there is nothing to replay.

    A dead letter in each of its intervals, and a safety stop in the way of payouts, would tell no more than
    the finding of the audits does: RESERVATION_UNREADABLE.
    """
    request = work.request
    return request is not None and isinstance(request.command, ExpireReservation) and not request.replay_of
