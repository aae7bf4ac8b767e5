"""BalanceService: each method makes its command, has it carried out, and answers.

Nothing may be awaited before the bus: the order in which calls arrive is the order in which they apply.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio

from app.domain.commands import Command
from app.domain.outcomes import Answer, Outcome
from app.domain.validation import check_account_id, check_command, check_ids, check_present
from app.rpc import job_messages, messages, pot_messages
from app.rpc.errors import CallFailed
from app.rpc.gen import balance_pb2 as pb
from app.rpc.gen import balance_pb2_grpc
from app.rpc.guard import CALLER
from app.services.front_end import FrontEnd
from app.services.submission import DEFAULT_TIMEOUT_MS

Context = grpc.aio.ServicerContext[Any, Any]

PART_SECONDS = 30.0
"""So long may a batch's next message take: it holds one of few places. gunicorn gives a body as long."""

# gRPC itself may hand over a call before one that was sent right in front of it (see ops/decisions/0004): the
# last bet of a hand has come by the time its settlement is answered, and these refusals do not stick.
_MAY_BE_TOO_EARLY = frozenset({Outcome.POT_NOT_FOUND, Outcome.SETTLEMENT_MISMATCH})


class BalanceServicer(balance_pb2_grpc.BalanceServiceServicer):
    """Raises what `app.rpc.errors` knows."""

    def __init__(self, front_end: FrontEnd) -> None:
        self._bus = front_end.bus
        self._queries = front_end.queries
        self._lookups = front_end.lookups
        self._submissions = front_end.submissions
        self._payouts = front_end.payouts

    async def GetBalance(self, request: pb.GetBalanceRequest, context: Context) -> pb.GetBalanceResponse:
        check_account_id("account_id", request.account_id)
        view = await self._queries.balance(request.account_id)
        if view.stale:
            context.set_trailing_metadata((*context.trailing_metadata(), ("balance-stale", "1")))
        return messages.balance_response(view)

    async def EnsureAccount(
        self, request: pb.EnsureAccountRequest, context: Context
    ) -> pb.EnsureAccountResponse:
        answer = await self._execute(messages.ensure_account(request), "", context)
        return messages.ensure_account_response(request.account_id, answer)

    async def Deposit(self, request: pb.DepositRequest, context: Context) -> pb.DepositResponse:
        answer = await self._execute(messages.deposit(request), request.idempotency_key, context)
        return messages.deposit_response(answer)

    async def Withdraw(self, request: pb.WithdrawRequest, context: Context) -> pb.WithdrawResponse:
        answer = await self._execute(messages.withdraw(request), request.idempotency_key, context)
        return messages.withdraw_response(answer)

    async def ReserveForBuyIn(
        self, request: pb.ReserveForBuyInRequest, context: Context
    ) -> pb.ReserveForBuyInResponse:
        answer = await self._execute(messages.reserve(request), request.idempotency_key, context)
        return messages.reserve_response(answer)

    async def CommitReservation(
        self, request: pb.CommitReservationRequest, context: Context
    ) -> pb.CommitReservationResponse:
        answer = await self._execute(messages.commit(request), "", context)
        return messages.commit_response(answer)

    async def ReleaseReservation(
        self, request: pb.ReleaseReservationRequest, context: Context
    ) -> pb.ReleaseReservationResponse:
        answer = await self._execute(messages.release(request), "", context)
        return messages.release_response(answer)

    async def ProcessCashOut(
        self, request: pb.ProcessCashOutRequest, context: Context
    ) -> pb.ProcessCashOutResponse:
        answer = await self._execute(messages.cash_out(request), request.idempotency_key, context)
        return messages.cash_out_response(answer)

    async def RecordContribution(
        self, request: pb.RecordContributionRequest, context: Context
    ) -> pb.RecordContributionResponse:
        answer = await self._execute(pot_messages.contribution(request), request.idempotency_key, context)
        return pot_messages.contribution_response(answer)

    async def SettlePot(self, request: pb.SettlePotRequest, context: Context) -> pb.SettlePotResponse:
        command, key = pot_messages.settlement(request), request.idempotency_key
        answer = await self._execute(command, key, context)
        if answer.outcome in _MAY_BE_TOO_EARLY:
            answer = await self._execute(command, key, context)
        return pot_messages.settlement_response(answer)

    async def CancelPot(self, request: pb.CancelPotRequest, context: Context) -> pb.CancelPotResponse:
        answer = await self._execute(pot_messages.cancellation(request), "", context)
        return pot_messages.cancellation_response(answer)

    async def GetPot(self, request: pb.GetPotRequest, _context: Context) -> pb.GetPotResponse:
        check_ids(table_id=request.table_id, hand_id=request.hand_id)
        return pot_messages.pot_response(await self._lookups.pot(request.table_id, request.hand_id))

    async def GetTable(self, request: pb.GetTableRequest, _context: Context) -> pb.GetTableResponse:
        check_ids(table_id=request.table_id)
        return pot_messages.table_response(await self._lookups.table(request.table_id))

    async def GetReservation(
        self, request: pb.GetReservationRequest, _context: Context
    ) -> pb.GetReservationResponse:
        check_ids(reservation_id=request.reservation_id)
        return pot_messages.reservation_response(await self._lookups.reservation(request.reservation_id))

    async def ListReservations(
        self, request: pb.ListReservationsRequest, _context: Context
    ) -> pb.ListReservationsResponse:
        check_account_id("account_id", request.account_id)
        return pot_messages.reservations_response(await self._lookups.reservations(request.account_id))

    async def SubmitCommand(
        self, request: pb.SubmitCommandRequest, _context: Context
    ) -> pb.SubmitCommandResponse:
        command, key = job_messages.submitted(request)
        return job_messages.submitted_response(await self._submissions.submit(command, key, CALLER.get()))

    async def GetCommand(self, request: pb.GetCommandRequest, _context: Context) -> pb.GetCommandResponse:
        check_present(command_id=request.command_id)
        return job_messages.command_response(await self._submissions.state(request.command_id))

    async def SubmitBatch(
        self, request: AsyncIterator[pb.SubmitBatchRequest], _context: Context
    ) -> pb.SubmitBatchResponse:
        with self._payouts.draft() as draft:
            header = pb.BatchHeader()
            async for part in _in_time(request):
                header.MergeFrom(part.header)
                for line in part.items:
                    draft.add(job_messages.item(line))
            draft.finish(header.batch_id, **job_messages.expected(header))
            found = await self._payouts.submit(
                draft,
                header.batch_id,
                submitted_by=CALLER.get(),
                dry_run=header.dry_run,
                all_or_nothing=header.all_or_nothing,
            )
            return job_messages.submitted_batch_response(found, draft)

    async def GetBatch(self, request: pb.GetBatchRequest, _context: Context) -> pb.GetBatchResponse:
        check_present(batch_id=request.batch_id)
        return job_messages.batch_response(await self._payouts.view(request.batch_id, brief=request.brief))

    async def ListBatchItems(
        self, request: pb.ListBatchItemsRequest, _context: Context
    ) -> pb.ListBatchItemsResponse:
        check_present(batch_id=request.batch_id)
        page = await self._payouts.items(request.batch_id, after=request.after_line, failed=request.failed)
        return job_messages.items_response(page)

    async def CancelBatch(self, request: pb.CancelBatchRequest, _context: Context) -> pb.CancelBatchResponse:
        check_present(batch_id=request.batch_id)
        return job_messages.cancelled_response(await self._payouts.cancel(request.batch_id))

    async def _execute(self, command: Command, key: str, context: Context) -> Answer:
        check_command(command, key)
        return await self._bus.execute(command, key=key, timeout_ms=timeout_ms(context.time_remaining()))


def timeout_ms(remaining_seconds: float | None) -> int:
    """How long to wait for an answer, at least 1 ms: what is left of the caller's deadline, else our own."""
    return DEFAULT_TIMEOUT_MS if remaining_seconds is None else max(1, int(remaining_seconds * 1000))


async def _in_time(parts: AsyncIterator[pb.SubmitBatchRequest]) -> AsyncIterator[pb.SubmitBatchRequest]:
    """The messages as they come. Raises CallFailed when the next one does not."""
    while True:
        try:
            async with asyncio.timeout(PART_SECONDS):
                part = await anext(parts, None)
        except TimeoutError:
            text = f"no more of the batch for {PART_SECONDS:g} s; nothing was done"
            raise CallFailed(grpc.StatusCode.DEADLINE_EXCEEDED, text) from None
        if part is None:
            return
        yield part
