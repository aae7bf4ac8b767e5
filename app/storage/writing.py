"""Turns what a unit of work has decided into the one plan of checks and writes that commits it."""

from collections import defaultdict

import msgspec

from app.domain.amounts import CURRENCY
from app.domain.identifiers import is_house_id, partition_in, partition_of
from app.domain.outcomes import Answer, Outcome
from app.domain.pots import ACTIVE
from app.domain.records import TransactionRecord
from app.domain.reservations import COMMITTED, EXPIRED, HELD, Reservation
from app.services.changes import AccountChange, Changes, LetterChange, PotChange
from app.services.tracking import Done, Settled
from app.services.work import Delivery, Work
from app.storage import codec, keys
from app.storage.plan import Plan

RESERVATION_KEPT_MS = 30 * 86_400_000
LETTER_KEPT_MS = 90 * 86_400_000
POT_KEPT_SECONDS = 30 * 86_400
RESULTS_KEPT_SECONDS = 60
RESULTS_LENGTH = 1_000
RESULTS_PER_PARTITION = 16
"""Commits whose answers are kept for a front end to read: so many, or more where there are many partitions.

None is trimmed unread: of each partition a front end has at most 4 messages on their way, each of which is
answered once, by one commit (`app.queueing.limits`). The rest is room for those whose callers have given up.
"""

_encode_answers = msgspec.json.Encoder().encode


class Writing:
    """Builds one commit. `now` is ms since the epoch; the plan's check indexes tell what failed."""

    def __init__(self, partitions: int, refusal_ttl_ms: int, state_ttl_ms: int, now: int) -> None:
        self.plan = Plan()
        self.epoch_checks: dict[int, int] = {}
        self._partitions = partitions
        self._refusal_ttl_ms = refusal_ttl_ms
        self._results_length = max(RESULTS_LENGTH, RESULTS_PER_PARTITION * partitions)
        self._state_ttl_seconds = max(state_ttl_ms // 1_000, 1)
        self._now = now
        self._totals: dict[tuple[int, str], int] = defaultdict(int)

    def owned(self, partition: int, epoch: int) -> None:
        """The commit holds only while the partition's epoch is still this one."""
        key = keys.partition(partition)
        self.epoch_checks[self.plan.expect(key, "epoch", str(epoch))] = partition
        self.plan.write("HSET", key, "last_time", self._now)

    def changes(self, changes: Changes) -> None:
        """Everything that was decided."""
        for account_id, change in changes.accounts.items():
            self._account(partition_of(account_id, self._partitions), change)
        self._postings(changes)
        for reservation_id, reservation in changes.reservations.items():
            self._reservation(reservation, made=reservation_id in changes.made)
        for pot_change in changes.pots.values():
            self._pot(pot_change)
        for record_id, record in changes.answers.items():
            key = keys.answer(partition_in(record_id) or 0, record_id)
            self.plan.expect_absent(key)
            self.plan.write("SET", key, codec.encode(record))
        for refusal_key, refusal in changes.refusals.items():
            key = keys.refusal(*refusal_key)
            freed = refusal_key in changes.freed  # by a replay: what is compared is its dead letter
            if refusal.answer.outcome is Outcome.DEAD_LETTERED and not freed:
                self.plan.write("SET", key, codec.encode(refusal))
                continue
            if not freed:
                self.plan.expect_absent(key)
            self.plan.write("SET", key, codec.encode(refusal), "PX", self._refusal_ttl_ms)
        for (table_id, account_id), amount in changes.in_play.items():
            self._in_play(table_id, account_id, amount, changes.in_play_before.get((table_id, account_id)))
        for letter in changes.dead_letters:
            key = keys.dead_letters(letter.partition)
            self.plan.write("HSET", key, letter.dead_letter_id, codec.encode(letter))
        for replayed in changes.replayed.values():
            change_letter(self.plan, replayed)
        self._states(changes.settled)

    def answers(self, deliveries: list[Delivery]) -> None:
        """The answers of finished deliveries, and their removal from the queue."""
        answers: dict[str, list[tuple[str, list[Answer]]]] = defaultdict(list)
        removals: dict[str, list[str]] = defaultdict(list)
        for delivery in deliveries:
            removals[keys.queue(delivery.partition, delivery.lane)].append(delivery.entry_id)
            if delivery.reply_to:
                answers[delivery.reply_to].append((delivery.message_id, delivery.answers))
        for reply_to, batch in answers.items():
            key = keys.results(reply_to)
            text = _encode_answers(batch).decode()
            self.plan.write("XADD", key, "MAXLEN", "~", self._results_length, "*", "a", text)
            self.plan.write("EXPIRE", key, RESULTS_KEPT_SECONDS)
        for key, entry_ids in removals.items():
            self.plan.write("XDEL", key, *entry_ids)

    def tried(self, works: list[Work]) -> None:
        """Commands that ran alone: their mark goes with their commit, for a later death is none of theirs."""
        for work in works:
            delivery = work.delivery
            self.plan.write("HDEL", keys.partition(delivery.partition), keys.trying_field(delivery.lane))

    def finish(self) -> Plan:
        """The plan, complete: totals and the commit counter come last."""
        for (partition, name), amount in self._totals.items():
            if amount:
                self.plan.write("HINCRBY", keys.totals(partition), name, str(amount))
        self.plan.write("HINCRBY", keys.META, "commits", 1)
        return self.plan

    def _states(self, settled: list[Settled]) -> None:
        lines: dict[str, list[str]] = defaultdict(list)
        for each in settled:
            if each.track.batch_id:
                key = keys.batch_items(each.partition, each.track.batch_id)
                lines[key] += (str(each.track.line), codec.item_value(each))
                continue
            key = keys.command(each.partition, each.command_id)
            if each.answer.outcome is Outcome.DEAD_LETTERED:
                self.plan.write("HSET", key, keys.PARKED, each.answer.detail)
            else:
                done = codec.encode(Done(answer=each.answer, at=self._now))
                self.plan.write("HSET", key, keys.DONE, done)
                self.plan.write("EXPIRE", key, self._state_ttl_seconds)
        for key, fields in lines.items():
            self.plan.write("HSET", key, *fields)

    def _account(self, partition: int, change: AccountChange) -> None:
        before, after = change.before, change.after
        key = keys.account(partition, after.account_id)
        self.plan.expect(key, "revision", str(before.revision) if before else "")
        self.plan.write("HSET", key, *codec.account_fields(after, after.revision + 1, opened=before is None))
        if before is None:
            self.plan.write("SADD", keys.account_ids(partition), after.account_id)
            self._totals[partition, "accounts"] += 1
        balances = "house" if is_house_id(after.account_id) else "balances"
        self._count(partition, balances, after.balance - (before.balance if before else 0))
        self._count(partition, "held", after.reserved - (before.reserved if before else 0))

    def _postings(self, changes: Changes) -> None:
        segments: dict[str, list[str]] = defaultdict(list)
        of_type: dict[str, list[int]] = defaultdict(list)
        for posting, fingerprint in changes.postings:
            entry = posting.entry
            account_id, seq = entry.account_id, entry.seq
            partition = partition_of(account_id, self._partitions)
            segments[keys.ledger(partition, account_id, keys.segment_of(seq))].append(posting.element)
            of_type[keys.transactions_of(partition, account_id, entry.type)].append(seq)
            record = TransactionRecord(account_id=account_id, seq=seq, fingerprint=fingerprint)
            key = keys.transaction(partition, entry.transaction_id)
            self.plan.expect_absent(key)
            self.plan.write("SET", key, codec.encode(record))
            self._event(partition, entry.type, f"{account_id}|{seq}")
            self._count(partition, f"type|{entry.type}", entry.amount)
            self._totals[partition, "entries"] += 1
        for key, elements in segments.items():
            self.plan.write("RPUSH", key, *elements)
        for key, seqs in of_type.items():
            for first in range(0, len(seqs), keys.SEGMENT_LENGTH):  # one write takes 4,096 arguments at most
                self.plan.write("RPUSH", key, *seqs[first : first + keys.SEGMENT_LENGTH])

    def _reservation(self, reservation: Reservation, *, made: bool) -> None:
        account_id, reservation_id = reservation.account_id, reservation.reservation_id
        partition = partition_of(account_id, self._partitions)
        key = keys.reservation(partition, reservation_id)
        event = f"{account_id}|{reservation_id}"
        if made:
            self.plan.expect_absent(key)
            self._event(partition, f"RESERVATION_{HELD}", event)
        if reservation.status == HELD:
            self.plan.write("SET", key, codec.encode(reservation))
            hold = codec.hold_value(reservation)
            self.plan.write("HSET", keys.holds(partition, account_id), reservation_id, hold)
            self.plan.write(
                "ZADD", keys.reservation_expiry(partition), reservation.expires_at, reservation_id
            )
        else:
            # A committed one is kept for ever: its id leads to a transaction that is.
            life = () if reservation.status == COMMITTED else ("PX", RESERVATION_KEPT_MS)
            self.plan.write("SET", key, codec.encode(reservation), *life)
            self.plan.write("HDEL", keys.holds(partition, account_id), reservation_id)
            self.plan.write("ZREM", keys.reservation_expiry(partition), reservation_id)
            self._event(partition, f"RESERVATION_{reservation.status}", event)
            self._totals[partition, "expired"] += reservation.status == EXPIRED

    def _pot(self, change: PotChange) -> None:
        before, after = change.before, change.after
        table_id, hand_id = after.key
        partition = partition_of(table_id, self._partitions)
        key, member = keys.pot(partition, table_id, hand_id), keys.pot_member(table_id, hand_id)
        self.plan.expect(key, "version", str(before.version) if before else "")
        self.plan.write("HSET", key, "version", after.version, "record", codec.encode(after))
        table, field = keys.table(partition, table_id), keys.pot_field(hand_id)
        if after.status == ACTIVE:
            self.plan.write("HSET", table, field, after.chips)
            if before is None:
                self.plan.write("ZADD", keys.active_pots(partition), after.created_at, member)
        else:
            self.plan.write("EXPIRE", key, POT_KEPT_SECONDS)
            self.plan.write("HDEL", table, field)
            self.plan.write("ZREM", keys.active_pots(partition), member)
            self._event(partition, f"POT_{after.status}", member)
        self._count(partition, "inPots", after.chips - (before.chips if before else 0))

    def _in_play(self, table_id: str, account_id: str, amount: int, before: int | None) -> None:
        partition = partition_of(table_id, self._partitions)
        key, field = keys.table(partition, table_id), keys.in_play_field(account_id)
        if before is not None:
            self.plan.expect_count(key, field, before)
        self.plan.write("HCOUNT", key, field, str(amount))
        self.plan.write("SADD", keys.table_ids(partition), table_id)
        self._count(partition, "inPlay", amount)

    def _event(self, partition: int, kind: str, subject: str) -> None:
        self.plan.write("XADD", keys.events(partition), "*", kind, subject)

    def _count(self, partition: int, name: str, amount: int) -> None:
        self._totals[partition, f"{CURRENCY}|{name}"] += amount


def change_letter(plan: Plan, change: LetterChange) -> int:
    """Plan that a dead letter becomes another, or is closed; the index of the check that it is as it was."""
    before, after = change.before, change.after
    key = keys.dead_letters(before.partition)
    check = plan.expect(key, before.dead_letter_id, codec.encode(before))
    if after.closed:
        plan.write("HDEL", key, before.dead_letter_id)
        closed = keys.closed_letter(after.partition, after.dead_letter_id)
        plan.write("SET", closed, codec.encode(after), "PX", LETTER_KEPT_MS)
    else:
        plan.write("HSET", key, before.dead_letter_id, codec.encode(after))
    return check
