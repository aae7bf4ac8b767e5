"""A store with accounts, holds and tables, written by the real execution: what audits and loads look at."""

from itertools import count

from app.domain.commands import (
    TO_TABLE,
    CancelPot,
    CashOut,
    Command,
    Commit,
    Deposit,
    EnsureAccount,
    RecordContribution,
    Release,
    Reserve,
    SettlePot,
    Winner,
    Withdraw,
)
from app.domain.outcomes import Answer
from app.domain.policy import Policy
from app.domain.requests import Request
from app.queueing.envelope import route
from app.services.execution import Execution
from app.services.queue import Lane
from app.services.work import Delivery, Unit, Work
from app.storage.backend import Backend
from app.storage.store import BalanceStore

PARTITIONS = 4
LEASE_MS = 600_000


class Books:
    """Owns all partitions of a store and carries out commands on it, without queue and front ends."""

    def __init__(self, backend: Backend, name: str = "books") -> None:
        self._execution = Execution(
            BalanceStore(backend, PARTITIONS, 86_400_000), Policy(partitions=PARTITIONS)
        )
        now, leases = backend.acquire(name, list(range(PARTITIONS)), LEASE_MS, PARTITIONS)
        self._epochs = {lease.partition: lease.epoch for lease in leases}
        self._now = now
        self._numbers = count()

    def do(self, *commands: Command) -> list[Answer]:
        """Carry the commands out in one unit, each under a key of its own; their answers."""
        works = [self._work(command) for command in commands]
        deliveries = [
            Delivery(
                partition=partition,
                epoch=self._epochs[partition],
                lane=Lane.INTERACTIVE,
                entry_id="1-1",
                message_id="books",
                reply_to="",
                works=[work for home, work in works if home == partition],
            )
            for partition in sorted({home for home, _ in works})
        ]
        self._execution.run(Unit(deliveries))
        return [work.answer for _, work in works if work.answer]

    def play(self) -> None:
        """A small evening: four accounts, every type of entry, holds in every state, chips on two tables."""
        accounts = ("alice", "bob", "carol", "dave")
        self.do(EnsureAccount(account_id="alice", initial_balance=1_000))
        self.do(*(Deposit(account_id=each, amount=500, source="web") for each in accounts))
        self.do(*(Deposit(account_id=each, amount=50, source="BONUS") for each in accounts))
        self.do(Withdraw(account_id="bob", amount=70))
        self.do(EnsureAccount(account_id="empty"))
        made = self.do(*(Reserve(account_id=each, table_id="t1", amount=100) for each in accounts))
        self.do(*(Commit(reservation_id=answer.reservation_id) for answer in made[:3]))
        self.do(Release(reservation_id=made[3].reservation_id))
        self.do(*(Reserve(account_id=each, table_id="t2", amount=40) for each in accounts))
        self.do(CashOut(account_id="alice", table_id="t1", amount=150))
        self.do(CashOut(account_id="bob", table_id="t1", amount=60))

    def play_hands(self, table_id: str = "t1", prefix: str = "") -> None:
        """Four hands of Alice and Bob, by the name of what became of them; one is still played."""
        for fate in ("open", "paid", "kept", "void"):
            hand_id = f"{prefix}{fate}"
            self.do(bet(table_id, hand_id, 1, "alice", 10), bet(table_id, hand_id, 2, "bob", 20))
            self.do(bet(table_id, hand_id, 1, "alice", 10))
        won = (
            Winner(seat_id=1, account_id="alice", amount=25),
            Winner(seat_id=2, account_id="bob", amount=15),
        )
        paid = SettlePot(table_id=table_id, hand_id=f"{prefix}paid", winners=won)
        kept = SettlePot(table_id=table_id, hand_id=f"{prefix}kept", winners=won, payout_to=TO_TABLE)
        self.do(paid, kept)
        self.do(CancelPot(table_id=table_id, hand_id=f"{prefix}void"))

    def _work(self, command: Command) -> tuple[int, Work]:
        partition = route(command, PARTITIONS)
        assert partition is not None
        key = f"k{next(self._numbers)}" if command.keyed else ""
        return partition, Work("", Request(command, partition=partition, key=key, arrived_at=self._now))


def bet(table_id: str, hand_id: str, seat_id: int, account_id: str, amount: int) -> RecordContribution:
    """A contribution."""
    return RecordContribution(
        table_id=table_id, hand_id=hand_id, seat_id=seat_id, account_id=account_id, amount=amount
    )
