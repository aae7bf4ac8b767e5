"""What a list of requests needs to be decided, and its loading in as few reads as possible."""

from collections.abc import Iterable

from app.domain.commands import (
    AccountCommand,
    Adjust,
    CashOut,
    Commit,
    LeaveTable,
    PayTogether,
    RecordContribution,
    Release,
    ReservationCommand,
    Reserve,
    SettlePot,
    TableCommand,
    Withdraw,
)
from app.domain.identifiers import house_of
from app.domain.policy import Policy
from app.domain.requests import Request
from app.domain.reservations import past_holds
from app.domain.state import State
from app.services.ports import Store, Wanted


def load(
    store: Store, requests: list[Request], policy: Policy, not_before: int, letters: Iterable[str] = ()
) -> tuple[State, int]:
    """The state that the requests are decided on, and the time to decide at: the store's (ms), never earlier
    than `not_before`, so that holds past their time are past it here too.

    Usually one read. A second follows for what only the first can name: the account of a reservation, the
    ledger entry of a replay, the records of holds past their time where the command ends them. `letters` are
    dead letters to load beside those that the requests replay.
    """
    state = State()
    wanted = first_wanted(requests, policy)
    wanted.dead_letters.update(letters)
    clock = store.load(wanted, state)
    now = max(not_before, clock)
    while wanted := _wanted_next(requests, state, now, policy):
        clock = store.load(wanted, state)
        now = max(now, clock)
    state.ahead = now - clock
    return state, now


def first_wanted(requests: Iterable[Request], policy: Policy) -> Wanted:
    """What the requests name themselves."""
    wanted = Wanted()
    for request in requests:
        command = request.command
        if isinstance(command, ReservationCommand):
            wanted.reservations.add(command.reservation_id)
        elif isinstance(command, AccountCommand):
            wanted.accounts.add(command.account_id)
        elif isinstance(command, PayTogether):
            _merge(wanted, first_wanted(request.parts, policy))
        elif isinstance(command, TableCommand):
            wanted.pots.add(command.pot_key)
            wanted.accounts.update(_accounts_of_pot(request))
        if command.keyed:
            wanted.refusals.add(request.refusal_key)
            _permanent(wanted, request).add(request.record_id)
        looks_at_seat = policy.enforce_table_bank and isinstance(command, CashOut | RecordContribution)
        if looks_at_seat or isinstance(command, LeaveTable):
            wanted.seats.add((command.table_id, command.account_id))  # type: ignore[attr-defined]
        if request.replay_of:
            wanted.dead_letters.add(request.replay_of)
    return wanted


def _merge(wanted: Wanted, more: Wanted) -> None:
    for name in Wanted.__slots__:
        getattr(wanted, name).update(getattr(more, name))


def _permanent(wanted: Wanted, request: Request) -> set[str]:
    """Where the permanent record of a keyed command is kept."""
    if request.is_reserve:
        return wanted.reservations
    return wanted.answers if request.is_on_pot else wanted.transactions


def _accounts_of_pot(request: Request) -> set[str]:
    """The accounts that a command on a pot looks at or pays."""
    command = request.command
    if isinstance(command, RecordContribution):
        return {command.account_id}
    if isinstance(command, SettlePot):
        return {house_of(request.partition), *(winner.account_id for winner in command.winners)}
    return set()


def _wanted_next(requests: list[Request], state: State, now: int, policy: Policy) -> Wanted:
    wanted = Wanted()
    for request in (each for whole in requests for each in (whole.parts or (whole,))):
        command = request.command
        if isinstance(command, ReservationCommand):
            reservation = state.reservations[command.reservation_id]
            if reservation is not None:
                wanted.accounts.add(reservation.account_id)
                if policy.enforce_table_bank and isinstance(command, Commit):
                    wanted.seats.add((reservation.table_id, reservation.account_id))
        elif record := state.transactions.get(request.record_id) if command.keyed else None:
            wanted.entries.add((record.account_id, record.seq))
    for account_id in {account_of(request, state) for request in requests if _sweeps(request)}:
        wanted.reservations.update(past_holds(state.holds.get(account_id, {}), now))
    wanted.accounts -= state.accounts.keys()
    wanted.reservations -= state.reservations.keys()
    wanted.entries -= state.entries.keys()
    wanted.seats -= state.in_play.keys()
    return wanted


def _sweeps(request: Request) -> bool:
    """True for a command that ends the past holds it passes over: one that looks at what is available.

    ExpireReservation ends the one it names: what a message of these costs is bounded by their number.
    """
    return isinstance(request.command, Commit | Release | Reserve | Withdraw | Adjust)


def accounts_of(request: Request, state: State) -> set[str]:
    """The accounts whose order a request belongs to: each of payouts that are paid together."""
    return {account_of(each, state) for each in request.parts or (request,)}


def account_of(request: Request, state: State) -> str:
    """The account whose order a request belongs to; the reservation's own id when its account is unknown."""
    command = request.command
    if isinstance(command, ReservationCommand):
        reservation = state.reservations.get(command.reservation_id)
        return reservation.account_id if reservation else command.reservation_id
    return request.aggregate_id
