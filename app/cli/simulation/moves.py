"""What players do, and how often: ordinary business, repetitions, and each refusal on purpose."""

from collections.abc import Awaitable, Callable, Mapping

from app.cli.simulation.player import Player, Sending
from app.rpc.gen import balance_pb2 as pb

_LARGEST_STAKE = 1_000  # chips
_MOST_HOLDS = 8
_TABLES = 20
_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"

Move = Callable[[Player], Awaitable[object]]


async def bring_chips(player: Player) -> None:
    """Deposit some, sent by chance once or more often."""
    await player.deposit(player.rng.randint(1, _LARGEST_STAKE))


async def bring_chips_again(player: Player) -> None:
    """Deposit, and repeat the answered request."""
    await player.deposit(player.rng.randint(1, _LARGEST_STAKE), sending=Sending.AGAIN)


async def bring_chips_at_once(player: Player) -> None:
    """Deposit, the same request several times without waiting."""
    await player.deposit(player.rng.randint(1, _LARGEST_STAKE), sending=Sending.AT_ONCE)


async def take_chips_out(player: Player) -> None:
    """Withdraw a part of what is available."""
    await player.withdraw(await _stake(player))


async def sit_down(player: Player) -> None:
    """Buy in at a table."""
    await player.commit(await _hold(player))


async def keep_a_seat(player: Player) -> None:
    """Hold chips and decide later; with many holds, decide on the oldest now."""
    if len(player.holds) < _MOST_HOLDS:
        await _hold(player)
    else:
        await player.commit(next(iter(player.holds)))


async def change_mind(player: Player) -> None:
    """Hold chips and give them back."""
    await player.release(await _hold(player))


async def cash_out(player: Player) -> None:
    """Take a part of a stack home, or all of it."""
    if not player.in_play:
        await sit_down(player)
    table_id = player.rng.choice(list(player.in_play))
    stack = player.in_play[table_id]
    await player.cash_out(table_id, player.rng.choice((stack, player.rng.randint(1, stack))))


async def overreach(player: Player) -> None:
    """Try to hold more than there is."""
    amount = player.available + player.rng.randint(1, _LARGEST_STAKE)
    await player.be_refused(
        "INSUFFICIENT_BALANCE", "ReserveForBuyIn", player.reserve_request(_table(player), amount)
    )


async def reuse_a_key(player: Player) -> None:
    """Send other content under a key that has been used."""
    amount, key = player.rng.randint(1, _LARGEST_STAKE), player.new_key()
    await player.deposit(amount, key)
    other = pb.DepositRequest(account_id=player.account_id, amount=amount + 1, idempotency_key=key)
    await player.be_refused("IDEMPOTENCY_KEY_REUSED", "Deposit", other)


async def commit_a_released_hold(player: Player) -> None:
    """Try to buy in with chips that were given back."""
    reservation_id = await _hold(player)
    await player.release(reservation_id)
    request = pb.CommitReservationRequest(reservation_id=reservation_id)
    await player.be_refused("RESERVATION_NOT_HELD", "CommitReservation", request)


async def release_a_buy_in(player: Player) -> None:
    """Try to get chips back that are on the table."""
    reservation_id = await _hold(player)
    await player.commit(reservation_id)
    request = pb.ReleaseReservationRequest(reservation_id=reservation_id)
    await player.be_refused("ALREADY_COMMITTED", "ReleaseReservation", request)


async def commit_an_unknown_hold(player: Player) -> None:
    """Name a reservation that was never made."""
    unknown = f"000-{''.join(player.rng.choices(_BASE32, k=26))}"
    request = pb.CommitReservationRequest(reservation_id=unknown)
    await player.be_refused("RESERVATION_NOT_FOUND", "CommitReservation", request)


async def debit_an_unknown_account(player: Player) -> None:
    """Take chips from somebody who was never here."""
    nobody = f"{player.account_id}-nobody"
    request = pb.WithdrawRequest(account_id=nobody, amount=1, idempotency_key=player.new_key())
    await player.be_refused("ACCOUNT_NOT_FOUND", "Withdraw", request)


MOVES: Mapping[Move, int] = {
    Player.look: 15,
    bring_chips: 15,
    bring_chips_again: 2,
    bring_chips_at_once: 2,
    take_chips_out: 10,
    sit_down: 20,
    keep_a_seat: 5,
    change_mind: 8,
    cash_out: 20,
    overreach: 3,
    reuse_a_key: 2,
    commit_a_released_hold: 2,
    release_a_buy_in: 2,
    commit_an_unknown_hold: 1,
    debit_an_unknown_account: 1,
}
"""Every move with its weight. Each provides for what it needs, so any order will do."""


async def play(player: Player) -> None:
    """Make one move, chosen by chance."""
    (move,) = player.rng.choices(list(MOVES), list(MOVES.values()))
    await move(player)


def _table(player: Player) -> str:
    return f"sim-table-{player.rng.randint(1, _TABLES)}"


async def _stake(player: Player) -> int:
    """Some of what is available; brings chips first where that is nothing."""
    if not player.available:
        await player.deposit(_LARGEST_STAKE)
    return player.rng.randint(1, min(player.available, _LARGEST_STAKE))


async def _hold(player: Player) -> str:
    return await player.reserve(_table(player), await _stake(player))
