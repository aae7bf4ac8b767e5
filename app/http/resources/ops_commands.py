"""Commands that only ops give: freeze and unfreeze, adjust, cancel a pot, close a table."""

from http import HTTPStatus
from typing import Any, ClassVar

from falcon.asgi import Request, Response

from app.domain.commands import Adjust, CancelPot, FreezeAccount, UnfreezeAccount
from app.domain.validation import check_command, check_ids
from app.http import ops_answers, ops_requests
from app.http.errors import ApiError, refused
from app.http.operations import Operations
from app.http.resources.ops import OpsResource, doing, who
from app.services.operations import Closing, Order, carry_out, close_table, foresee, still_in_play

_REFUSALS = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT})


class _Ordering(OpsResource):
    async def _order(self, resp: Response, order: Order, *, dry_run: bool) -> None:
        """Have it carried out, or tell what it would lead to."""
        check_command(order.command, order.key, by_ops=True)
        if dry_run:
            answer = await foresee(self._life.ops, order)
        else:
            answer = await carry_out(self._life.ops, self._life.bus, order)
            if answer.replayed:
                resp.set_header("Idempotent-Replayed", "true")
            if not answer.ok:
                raise refused(answer)
        resp.media = ops_answers.ordered(answer, dry_run=dry_run)


class Freeze(_Ordering):
    """/api/ops/accounts/{account_id}/freeze."""

    operations: ClassVar[Operations] = doing(
        "freezeAccount",
        "Have the account refuse all commands of callers",
        ops_answers.Ordered,
        ops_requests.Deed(),
        errors=_REFUSALS,
    )

    async def on_post(self, req: Request, resp: Response, account_id: str) -> None:
        body = await self._body(req)
        command = FreezeAccount(account_id=account_id, reason=body["reason"])
        order = _order_on(account_id, command, "account.freeze", req, body)
        await self._order(resp, order, dry_run=body["dry_run"])


class Unfreeze(_Ordering):
    """/api/ops/accounts/{account_id}/unfreeze."""

    operations: ClassVar[Operations] = doing(
        "unfreezeAccount",
        "Let the account take commands again, if the end of its ledger is sound",
        ops_answers.Ordered,
        ops_requests.Deed(),
        errors=_REFUSALS,
    )

    async def on_post(self, req: Request, resp: Response, account_id: str) -> None:
        body = await self._body(req)
        command = UnfreezeAccount(account_id=account_id, reason=body["reason"])
        order = _order_on(account_id, command, "account.unfreeze", req, body)
        await self._order(resp, order, dry_run=body["dry_run"])


class Adjustment(_Ordering):
    """/api/ops/accounts/{account_id}/adjust."""

    operations: ClassVar[Operations] = doing(
        "adjustAccount",
        "Correct a transaction by a new one, of signed chips, that points to it",
        ops_answers.Ordered,
        ops_requests.Adjustment(),
        keyed=True,
        errors=_REFUSALS,
    )

    async def on_post(self, req: Request, resp: Response, account_id: str) -> None:
        body = await self._body(req)
        corrects = body["corrects"]
        if await self._life.history.transaction(corrects) is None:
            raise ApiError(HTTPStatus.NOT_FOUND, "there is no such transaction to correct")
        command = Adjust(
            account_id=account_id, change=body["change"], corrects=corrects, reason=body["reason"]
        )
        subjects = (account_id, corrects, f"{body['change']:+}")
        order = Order(
            command=command,
            who=who(req),
            what="account.adjust",
            why=body["reason"],
            subjects=subjects,
            key=req.context.idempotency_key,
        )
        await self._order(resp, order, dry_run=body["dry_run"])


class CancelledPot(_Ordering):
    """/api/ops/tables/{table_id}/pots/{hand_id}/cancel."""

    operations: ClassVar[Operations] = doing(
        "cancelPot",
        "Put the pot's chips back in play of those who contributed",
        ops_answers.Ordered,
        ops_requests.Deed(),
        errors=_REFUSALS,
    )

    async def on_post(self, req: Request, resp: Response, table_id: str, hand_id: str) -> None:
        body = await self._body(req)
        order = Order(
            command=CancelPot(table_id=table_id, hand_id=hand_id, reason=body["reason"]),
            who=who(req),
            what="pot.cancel",
            why=body["reason"],
            subjects=(table_id, hand_id),
        )
        await self._order(resp, order, dry_run=body["dry_run"])


class ClosedTable(OpsResource):
    """/api/ops/tables/{table_id}/close."""

    operations: ClassVar[Operations] = doing(
        "closeTable",
        "Cancel the table's pots and cash out all that is in play there",
        ops_answers.ClosedTable,
        ops_requests.Deed(),
        keyed=True,
    )

    async def on_post(self, req: Request, resp: Response, table_id: str) -> None:
        body = await self._body(req)
        check_ids(table_id=table_id)
        room, bus, dry_run = self._life.ops, self._life.bus, body["dry_run"]
        closing = Closing(
            table_id=table_id, key=req.context.idempotency_key, who=who(req), why=body["reason"]
        )
        steps = await close_table(
            self._life.lookups,
            closing,
            lambda order: foresee(room, order) if dry_run else carry_out(room, bus, order),
        )
        if not dry_run:
            steps += await still_in_play(self._life.lookups, closing, steps)
        resp.media = ops_answers.closed_table(steps, dry_run=dry_run)


def _order_on(
    account_id: str, command: FreezeAccount | UnfreezeAccount, what: str, req: Request, body: dict[str, Any]
) -> Order:
    return Order(command=command, who=who(req), what=what, why=body["reason"], subjects=(account_id,))
