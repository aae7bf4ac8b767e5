"""Callers of a simulated world: each asks for one account, and repeats what was not answered."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, cast

from google.protobuf.message import Message

from app.domain import commands
from app.domain.commands import Command
from app.domain.outcomes import Answer, Outcome
from app.rpc import messages
from app.rpc.gen import balance_pb2 as pb
from app.storage.backend import Reply
from app.storage.backends.valkey_async import AsyncConnection
from app.storage.plan import Plan
from app.storage.queries import StoreQueries
from tests.support.harness import Ask, World
from tests.support.playing_fields import PARTITIONS, Field

ASK_AGAIN_SECONDS = 0.05

Spoken = tuple[Callable[[Any, str], Message], Callable[[Any, Answer], Message]]


def _keyed(message: type[Message]) -> Callable[[Any, str], Message]:
    """The request of that type: its fields are named as the command's."""
    return lambda command, key: message(
        **{name: getattr(command, name) for name in command.__struct_fields__}, idempotency_key=key
    )


def _keyless(message: type[Message]) -> Callable[[Any, str], Message]:
    return lambda command, _: message(**{name: getattr(command, name) for name in command.__struct_fields__})


# How the checker is told of commands and answers. A payout is a deposit of another type, a correction is a
# deposit or a withdrawal; the end of a hold that is over changes nothing that a caller could see.
_SPOKEN: Mapping[type[Command], Spoken] = {
    commands.EnsureAccount: (
        _keyless(pb.EnsureAccountRequest),
        lambda command, answer: messages.ensure_account_response(command.account_id, answer),
    ),
    commands.Deposit: (_keyed(pb.DepositRequest), lambda _, answer: messages.deposit_response(answer)),
    commands.Payout: (
        lambda command, key: pb.DepositRequest(
            account_id=command.account_id, amount=command.amount, source=command.type, idempotency_key=key
        ),
        lambda _, answer: messages.deposit_response(answer),
    ),
    commands.Withdraw: (_keyed(pb.WithdrawRequest), lambda _, answer: messages.withdraw_response(answer)),
    commands.Adjust: (
        lambda command, key: (pb.DepositRequest if command.change > 0 else pb.WithdrawRequest)(
            account_id=command.account_id, amount=abs(command.change), idempotency_key=f"fix {key}"
        ),
        lambda command, answer: (
            messages.deposit_response if command.change > 0 else messages.withdraw_response
        )(answer),
    ),
    commands.CashOut: (
        _keyed(pb.ProcessCashOutRequest),
        lambda _, answer: messages.cash_out_response(answer),
    ),
    commands.Reserve: (
        _keyed(pb.ReserveForBuyInRequest),
        lambda _, answer: messages.reserve_response(answer),
    ),
    commands.Commit: (
        _keyless(pb.CommitReservationRequest),
        lambda _, answer: messages.commit_response(answer),
    ),
    commands.Release: (
        _keyless(pb.ReleaseReservationRequest),
        lambda _, answer: messages.release_response(answer),
    ),
}


class Caller:
    """Asks again and again under the same key, until there is an answer. `answers` are the final ones."""

    def __init__(self, world: World, account_id: str) -> None:
        self.account_id = account_id
        self.answers: list[tuple[Ask, Answer]] = []
        self._world = world

    async def ask(self, command: Command, key: str = "") -> Answer:
        """The answer."""
        (answer,) = await self.ask_at_once(Ask(command, key))
        return answer

    async def ask_at_once(self, *asks: Ask) -> list[Answer]:
        """The answers to what is asked at one moment, in this order; so is whatever has to be repeated."""
        checker = self._world.checker
        calls = {
            ask: checker.sent(self.account_id, _request(ask)) for ask in asks if type(ask.command) in _SPOKEN
        }
        answers: dict[Ask, Answer] = {}
        while left := [ask for ask in asks if ask not in answers]:
            if front := self._world.front:
                found = await asyncio.gather(*map(front.attempt, left))
                answers |= {ask: answer for ask, answer in zip(left, found, strict=True) if answer}
            if len(answers) < len(asks):
                await asyncio.sleep(ASK_AGAIN_SECONDS)
        for ask, call in calls.items():
            if answers[ask].outcome is Outcome.DEAD_LETTERED:
                checker.calls[self.account_id].remove(call)  # it must never have any effect
            else:
                checker.answered(call, _SPOKEN[type(ask.command)][1](ask.command, answers[ask]))
        self.answers += answers.items()
        return [answers[ask] for ask in asks]

    async def look(self) -> None:
        """Ask for the balance, past all faults."""
        call = self._world.checker.sent(self.account_id, pb.GetBalanceRequest(account_id=self.account_id))
        queries = StoreQueries(cast(AsyncConnection, _Reading(self._world.field)), PARTITIONS)
        view = await queries.balance(self.account_id)
        self._world.checker.answered(call, messages.balance_response(view))


class OpsDesk(Caller):
    """Asks what only ops may ask. To the checker, who is taken from a table cashes out there."""

    async def take_from(self, table_id: str, key: str, in_play: int) -> Answer:
        """The answer; all that must come back from the table is `in_play`."""
        checker = self._world.checker
        cash_out = pb.ProcessCashOutRequest(
            account_id=self.account_id, table_id=table_id, amount=in_play, idempotency_key=key
        )
        call = checker.sent(self.account_id, cash_out)
        answer = await self.ask(commands.LeaveTable(account_id=self.account_id, table_id=table_id), key)
        if answer.outcome is Outcome.DEAD_LETTERED:
            checker.calls[self.account_id].remove(call)
        else:
            checker.answered(call, messages.cash_out_response(answer))
        return answer

    async def freeze_for_a_while(self) -> None:
        """Freeze the account, have a command refused for that, and thaw it. Nothing may be asked after this.

        For a freeze that arrives late may freeze it again.
        """
        await self.ask(commands.FreezeAccount(account_id=self.account_id))
        refused = await self.ask(
            commands.LeaveTable(account_id=self.account_id, table_id="nowhere"), "while frozen"
        )
        assert refused.outcome in {Outcome.ACCOUNT_FROZEN, Outcome.DEAD_LETTERED}
        await self.ask(commands.UnfreezeAccount(account_id=self.account_id))


class Dealer(Caller):
    """Asks for one table. To the checker, what a settlement pays to an account is a deposit of it."""

    async def settle(self, command: commands.SettlePot, key: str, paid: Mapping[str, int]) -> Answer:
        """The answer; `paid` is what must be paid, less rake, by account: nothing where it is refused."""
        checker = self._world.checker
        calls = {
            account_id: checker.sent(
                account_id,
                pb.DepositRequest(
                    account_id=account_id, amount=amount, idempotency_key=f"{self.account_id}|{key}"
                ),
            )
            for account_id, amount in paid.items()
        }
        answer = await self.ask(command, key)
        for account_id, call in calls.items():
            results = [each for each in answer.results if each.account_id == account_id]
            if answer.outcome is Outcome.DEAD_LETTERED:
                checker.calls[account_id].remove(call)
                continue
            (result,) = results
            assert result.amount == paid[account_id]
            told = pb.DepositResponse(
                ok=answer.ok, transaction_id=result.transaction_id, new_balance=result.new_balance
            )
            checker.answered(call, told)
        return answer


class _Reading:
    """What queries need of a connection."""

    def __init__(self, field: Field) -> None:
        self._backend = field.tool

    async def read(self, plan: Plan) -> tuple[int, list[Reply]]:
        return self._backend.read(plan)


def _request(ask: Ask) -> Message:
    return _SPOKEN[type(ask.command)][0](ask.command, ask.key)
