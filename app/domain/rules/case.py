"""What every rule looks at, and the few steps that rules share."""

from dataclasses import dataclass

from msgspec.structs import replace

from app.domain.accounts import Account, Origin, Posting, post
from app.domain.ledger import Metadata, TransactionType
from app.domain.outcomes import Answer, Outcome
from app.domain.policy import Policy
from app.domain.records import RefusalRecord
from app.domain.requests import Request
from app.domain.reservations import EXPIRED, HELD, Hold, Reservation, available, past_holds
from app.domain.state import AccountEffect, Decision, State


@dataclass(slots=True, frozen=True)
class Case:
    """One request on one state. `now` is ms since the epoch on the store's clock."""

    state: State
    request: Request
    now: int
    policy: Policy

    def refuse(
        self,
        outcome: Outcome,
        *,
        available_balance: int = 0,
        detail: str = "",
        swept: "Swept | None" = None,
        sticks: bool = True,
    ) -> Decision:
        """A refusal; it sticks to the key where the outcome is the caller's own. Holds swept are written."""
        answer = Answer(outcome=outcome, available_balance=available_balance, detail=detail)
        sticks = sticks and self.request.command.keyed and outcome.sticks
        return Decision(
            answer,
            accounts=swept.changes if swept else (),
            reservations=swept.expired if swept else (),
            refusal=RefusalRecord(fingerprint=self.request.fingerprint, answer=answer) if sticks else None,
        )

    def post(
        self,
        account: Account,
        amount: int,
        kind: TransactionType,
        metadata: Metadata,
        *,
        initial: bool = False,
    ) -> tuple[Account, Posting]:
        """Post signed chips under the request's derived id, key and command id."""
        origin = self.origin(self.request.record_id)
        return post(account, amount, kind, metadata, origin, initial=initial)

    def origin(self, transaction_id: str) -> Origin:
        """Where a posting of this request comes from."""
        return Origin(transaction_id, self.now, self.request.key, self.request.command_id)

    def sweep(self, account: Account) -> "Swept":
        """The account without the holds that are past their time, and what is available then."""
        holds = self.state.holds.get(account.account_id, {})
        expired: list[Reservation] = []
        for reservation_id in past_holds(holds, self.now):
            reservation = self.state.reservations.get(reservation_id)
            if reservation is not None and reservation.status == HELD:
                expired.append(reservation.end(EXPIRED, self.now))
        if expired:
            freed = sum(reservation.amount for reservation in expired)
            account = replace(account, reserved=account.reserved - freed, updated_at=self.now)
        live = {key: hold for key, hold in holds.items() if hold.expires_at > self.now}
        return Swept(account, live, available(account.balance, live, self.now), tuple(expired))


@dataclass(slots=True, frozen=True)
class Swept:
    """An account with its live holds, its available balance, and the reservations that have just EXPIRED."""

    account: Account
    live: dict[str, Hold]
    available: int
    expired: tuple[Reservation, ...]

    @property
    def changes(self) -> tuple[AccountEffect, ...]:
        """What is to be written of the account for the holds alone."""
        return (AccountEffect(self.account),) if self.expired else ()
