"""BalanceClient: the service as a poker service calls it from threads."""

from collections.abc import Mapping
from copy import copy
from typing import Self, TypeVar

import grpc
from tenacity import Retrying

from . import batches, calls, jobs
from .calls import Call
from .gen.balance_pb2_grpc import BalanceServiceStub
from .methods import method
from .policy import CHANNEL_OPTIONS, Desk, Policy, Token
from .tracing import span_of

Answer = TypeVar("Answer")


class BalanceClient:
    """One connection to the service at `target` (HOST:PORT), for any number of threads; close it at the end.

    Each method makes one call and waits for its answer; it raises Refused, Unanswered, CircuitOpen,
    DeadLettered or CallFailed (see `errors`). With `credentials` (from grpc.ssl_channel_credentials) the
    connection is TLS. Must not be used after a fork.
    """

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
            grpc.secure_channel(target, credentials, channel_options)
            if credentials
            else grpc.insecure_channel(target, channel_options)
        )
        self._stub = BalanceServiceStub(self._channel)
        self._desk = Desk(policy, policy.breaker(), token)

    get_balance = method(calls.get_balance)
    ensure_account = method(calls.ensure_account)
    deposit = method(calls.deposit)
    withdraw = method(calls.withdraw)
    reserve = method(calls.reserve)
    commit = method(calls.commit)
    release = method(calls.release)
    cash_out = method(calls.cash_out)
    record_contribution = method(calls.record_contribution)
    settle_pot = method(calls.settle_pot)
    cancel_pot = method(calls.cancel_pot)
    get_pot = method(calls.get_pot)
    get_table = method(calls.get_table)
    get_reservation = method(calls.get_reservation)
    list_reservations = method(calls.list_reservations)
    submit = method(jobs.submit)
    submit_payout = method(jobs.submit_payout)
    get_command = method(jobs.get_command)
    submit_batch = method(batches.submit_batch)
    get_batch = method(batches.get_batch)
    list_batch_items = method(batches.list_batch_items)
    cancel_batch = method(batches.cancel_batch)

    def within(self, seconds: float) -> Self:
        """The same client, connection and breaker, with another deadline for each whole call."""
        other = copy(self)
        other._desk = self._desk.within(seconds)  # noqa: SLF001 - of its own kind
        return other

    def send(self, call: Call[Answer]) -> Answer:
        """The answer to a call made by `calls`, after as many attempts as it takes and the policy allows."""
        deadline = self._desk.open(call)
        with span_of(call.method):
            answer: Answer = Retrying(**self._desk.policy.retrying())(self._attempt, call, deadline)
        return answer

    def _attempt(self, call: Call[Answer], deadline: float) -> Answer:
        how = self._desk.attempt(call, deadline)
        try:
            message = getattr(self._stub, call.method)(call.sent, **how)
        except grpc.RpcError as error:
            raise self._desk.failed(call, how, error.code(), error.details() or "") from error
        return self._desk.answered(call, message)

    def close(self) -> None:
        """Close the connection; calls under way end."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
