"""AsyncBalanceClient: the same service, methods and policy, on an asyncio event loop."""

from collections.abc import Mapping
from copy import copy
from typing import Self, TypeVar

import grpc
import grpc.aio
from tenacity import AsyncRetrying

from . import batches, calls, jobs
from .calls import Call
from .gen.balance_pb2_grpc import BalanceServiceStub
from .methods import async_method
from .policy import CHANNEL_OPTIONS, Desk, Policy, Token
from .tracing import span_of

Answer = TypeVar("Answer")


class AsyncBalanceClient:
    """BalanceClient for one event loop; to be made inside it. Its methods are awaited."""

    def __init__(
        self,
        target: str,
        *,
        token: Token = None,
        credentials: grpc.ChannelCredentials | None = None,
        policy: Policy | None = None,
        options: Mapping[str, int | str] | None = None,
    ) -> None:
        policy = policy or Policy()
        channel_options = [*{**CHANNEL_OPTIONS, **(options or {})}.items()]
        self._channel = (
            grpc.aio.secure_channel(target, credentials, channel_options)
            if credentials
            else grpc.aio.insecure_channel(target, channel_options)
        )
        self._stub = BalanceServiceStub(self._channel)
        self._desk = Desk(policy, policy.breaker(), token)

    get_balance = async_method(calls.get_balance)
    ensure_account = async_method(calls.ensure_account)
    deposit = async_method(calls.deposit)
    withdraw = async_method(calls.withdraw)
    reserve = async_method(calls.reserve)
    commit = async_method(calls.commit)
    release = async_method(calls.release)
    cash_out = async_method(calls.cash_out)
    record_contribution = async_method(calls.record_contribution)
    settle_pot = async_method(calls.settle_pot)
    cancel_pot = async_method(calls.cancel_pot)
    get_pot = async_method(calls.get_pot)
    get_table = async_method(calls.get_table)
    get_reservation = async_method(calls.get_reservation)
    list_reservations = async_method(calls.list_reservations)
    submit = async_method(jobs.submit)
    submit_payout = async_method(jobs.submit_payout)
    get_command = async_method(jobs.get_command)
    submit_batch = async_method(batches.submit_batch)
    get_batch = async_method(batches.get_batch)
    list_batch_items = async_method(batches.list_batch_items)
    cancel_batch = async_method(batches.cancel_batch)

    def within(self, seconds: float) -> Self:
        """The same client, connection and breaker, with another deadline for each whole call."""
        other = copy(self)
        other._desk = self._desk.within(seconds)  # noqa: SLF001 - of its own kind
        return other

    async def send(self, call: Call[Answer]) -> Answer:
        """The answer to a call made by `calls`, after as many attempts as it takes and the policy allows."""
        deadline = self._desk.open(call)
        with span_of(call.method):
            return await AsyncRetrying(**self._desk.policy.retrying())(self._attempt, call, deadline)

    async def _attempt(self, call: Call[Answer], deadline: float) -> Answer:
        how = self._desk.attempt(call, deadline)
        try:
            message = await getattr(self._stub, call.method)(call.sent, **how)
        except grpc.aio.AioRpcError as error:
            raise self._desk.failed(call, how, error.code(), error.details() or "") from error
        return self._desk.answered(call, message)

    async def close(self) -> None:
        """Close the connection; calls under way end."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
