"""Accounts as their owners and services see them."""

from typing import ClassVar

from falcon.asgi import Request, Response

from app.domain.outcomes import Answer, Outcome
from app.http.errors import refused
from app.http.middleware import Access, FrontEndLife
from app.services.access import Action


class Balance:
    """GET /api/accounts/{account_id}/balance: what the account holds, and what of it is free."""

    access: ClassVar[Access] = {"GET": Action.READ_ACCOUNT}

    def __init__(self, life: FrontEndLife) -> None:
        self._life = life

    async def on_get(self, _req: Request, resp: Response, account_id: str) -> None:
        view = await self._life.queries.balance(account_id)
        if not view.exists:
            raise refused(Answer(outcome=Outcome.ACCOUNT_NOT_FOUND))
        if view.stale:
            resp.set_header("Balance-Stale", "true")
        resp.media = {
            "accountId": view.account_id,
            "balance": view.balance,
            "availableBalance": view.available_balance,
            "currency": view.currency,
            "version": view.version,
        }
