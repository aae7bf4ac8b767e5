"""The sweep: all records are looked at by their names, for what no index names: orphans.

It goes over all keys of the store, some of them in each task.
"""

from collections import defaultdict

import msgspec

from app.domain.ledger import VERSION_FIELD
from app.services.verification import Chain, Findings
from app.storage import codec, keys
from app.storage.answers import Answers
from app.storage.audits.state import AuditedStore
from app.storage.pictures import picture_of
from app.storage.plan import Plan
from app.storage.pot_checks import Pots
from app.storage.references import References
from app.storage.walking import LedgerWalker, Walk


class Sweep(msgspec.Struct, omit_defaults=True):
    """How far the sweep has come: when it began (ms), how many keys it has seen, where it goes on."""

    v: int = VERSION_FIELD
    started: int = 0
    seen: int = 0
    cursor: str = "0"
    complete: bool = True


class Sweeping:
    """Takes one step of a sweep after the other."""

    def __init__(self, store: AuditedStore, findings: Findings) -> None:
        self._store = store
        self._findings = findings

    def step(self, sweep: Sweep) -> None:
        """Look at some more keys; the sweep is moved on."""
        sweep.cursor, names = self._store.page(sweep.cursor)
        sweep.seen += len(names)
        sweep.complete = sweep.cursor == "0"
        references = References(self._store, self._findings)
        reservations = [each for each in names if each.startswith(keys.RESERVATIONS)]
        references.check_reservations_named(reservations)
        answers = [each for each in names if each.startswith(keys.ANSWERS)]
        Answers(self._store, self._findings).check_named(reservations + answers)
        self._check_pots([each for each in names if each.startswith(keys.POTS)])
        self._check_transactions([each for each in names if each.startswith(keys.TRANSACTIONS)])

    def _check_pots(self, names: list[str]) -> None:
        Pots(self._store, self._findings).check_named(names)

    def _check_transactions(self, names: list[str]) -> None:
        """Where a record and its entry differ, the whole ledger says which of them is wrong."""
        suspects = Findings()
        References(self._store, suspects).check_transactions_named(names, set())
        found = suspects.all()
        suspected: dict[int, set[str]] = defaultdict(set)
        for finding in found:
            place = keys.place_in(finding.where)
            if finding.account_id and place:
                suspected[place[0]].add(finding.account_id)
        broken = {
            account_id
            for partition, accounts in suspected.items()
            for account_id in self._broken(partition, sorted(accounts))
        }
        for finding in found:
            if finding.account_id not in broken:
                self._findings.add(finding)

    def _broken(self, partition: int, account_ids: list[str]) -> list[str]:
        """Those of the accounts whose ledgers are; what is wrong with them comes first."""
        plan = Plan()
        for account_id in account_ids:
            plan.read("HMGET", keys.account(partition, account_id), *codec.ACCOUNT_FIELDS)
            plan.read("HGETALL", keys.holds(partition, account_id))
        pairs = self._store.read(plan)[1]
        picture = picture_of(account_ids, ([], [], []), {}, pairs)
        walks = [Walk(partition, account, Chain(each)) for each, account in picture.accounts.items()]
        LedgerWalker(self._store, self._findings, lambda _entries: None).follow(walks)
        return [walk.account.account_id for walk in walks if not walk.intact]
