"""Accounts as their owners and services see them: open, read, deposit, withdraw."""

from http import HTTPStatus
from typing import Any, ClassVar

from falcon.asgi import Request, Response

from app.domain import commands
from app.domain.commands import Command
from app.domain.outcomes import Answer, Outcome
from app.domain.validation import check_command
from app.http import answers, requests
from app.http.errors import refused
from app.http.life import FrontEndLife
from app.http.operations import SAME_ACCOUNT, Operation, Operations
from app.http.strict_json import read_object
from app.services.access import Action, Forbidden, may
from app.services.times import iso_time

NO_ACCOUNT = Answer(outcome=Outcome.ACCOUNT_NOT_FOUND)
_OK_TRANSACTION = {HTTPStatus.OK: answers.Transaction}
_SAME_TRANSACTION = {"transactionId": "$response.body#/transactionId"}
_LINKS = (
    ("getTransaction", _SAME_TRANSACTION),
    ("getAccountTransaction", SAME_ACCOUNT | _SAME_TRANSACTION),
    ("withdraw", SAME_ACCOUNT),
    ("getBalance", SAME_ACCOUNT),
    ("listTransactions", SAME_ACCOUNT),
    ("getLedger", SAME_ACCOUNT),
)


class Balance:
    """/api/accounts/{account_id}/balance."""

    operations: ClassVar[Operations] = {
        "GET": Operation(
            name="getBalance",
            summary="What the account holds, and what of it is free",
            access=Action.READ_ACCOUNT,
            may_be_stale=True,
            answers={HTTPStatus.OK: answers.Balance},
            errors=frozenset({HTTPStatus.NOT_FOUND}),
        )
    }

    def __init__(self, life: FrontEndLife) -> None:
        self._life = life

    async def on_get(self, _req: Request, resp: Response, account_id: str) -> None:
        view = await self._life.queries.balance(account_id)
        if view.stale:
            resp.set_header("Balance-Stale", "true")
            resp.set_header("Balance-As-Of", iso_time(view.as_of))
        if not view.exists:
            raise refused(NO_ACCOUNT)
        resp.media = answers.balance(view)


class _Commanding:
    """What changes an account goes through here: read, check, have it carried out, tell a refusal."""

    operations: ClassVar[Operations]

    def __init__(self, life: FrontEndLife) -> None:
        self._life = life

    async def _body(self, req: Request) -> dict[str, Any]:
        schema = self.operations["POST"].body
        assert schema is not None  # noqa: S101  # a resource that takes commands has a body
        return requests.load(schema, await read_object(req))

    async def _carry_out(self, req: Request, resp: Response, command: Command) -> Answer:
        key: str = req.context.get("idempotency_key") or ""
        check_command(command, key, by_ops=True)  # on a house account only ops have come this far
        answer = await self._life.bus.execute(command, key=key)
        if answer.replayed:
            resp.set_header("Idempotent-Replayed", "true")
        if not answer.ok:
            raise refused(answer)
        return answer


class Account(_Commanding):
    """/api/accounts/{account_id}."""

    operations: ClassVar[Operations] = {
        "POST": Operation(
            name="openAccount",
            summary="Open the account unless it exists; an initial balance is its first deposit",
            access=Action.OPEN_ACCOUNT,
            body=requests.OpenAccount(),
            answers={HTTPStatus.CREATED: answers.Opened, HTTPStatus.OK: answers.Opened},
            errors=frozenset({HTTPStatus.CONFLICT}),
            links=(("deposit", SAME_ACCOUNT), ("withdraw", SAME_ACCOUNT), ("getBalance", SAME_ACCOUNT)),
        )
    }

    def __init__(self, life: FrontEndLife, *, player_deposits: bool) -> None:
        super().__init__(life)
        self._player_deposits = player_deposits

    async def on_post(self, req: Request, resp: Response, account_id: str) -> None:
        command = commands.EnsureAccount(account_id=account_id, **await self._body(req))
        if command.initial_balance and not may(
            req.context.principal, Action.MAKE_CHIPS, account_id, player_deposits=self._player_deposits
        ):
            raise Forbidden("the token does not allow an initial balance")
        answer = await self._carry_out(req, resp, command)
        resp.status = HTTPStatus.CREATED if answer.created else HTTPStatus.OK
        resp.media = answers.opened(account_id, answer)


class Deposit(_Commanding):
    """/api/accounts/{account_id}/deposit."""

    operations: ClassVar[Operations] = {
        "POST": Operation(
            name="deposit",
            summary="Make chips on the account, which is opened when needed",
            access=Action.MAKE_CHIPS,
            keyed=True,
            body=requests.Deposit(),
            answers=_OK_TRANSACTION,
            errors=frozenset({HTTPStatus.CONFLICT}),
            links=_LINKS,
        )
    }

    async def on_post(self, req: Request, resp: Response, account_id: str) -> None:
        command = commands.Deposit(account_id=account_id, **await self._body(req))
        resp.media = answers.transaction(await self._carry_out(req, resp, command))


class Withdraw(_Commanding):
    """/api/accounts/{account_id}/withdraw."""

    operations: ClassVar[Operations] = {
        "POST": Operation(
            name="withdraw",
            summary="Take available chips out of the account",
            access=Action.WITHDRAW,
            keyed=True,
            body=requests.Withdrawal(),
            answers=_OK_TRANSACTION,
            errors=frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}),
            links=_LINKS,
        )
    }

    async def on_post(self, req: Request, resp: Response, account_id: str) -> None:
        command = commands.Withdraw(account_id=account_id, **await self._body(req))
        resp.media = answers.transaction(await self._carry_out(req, resp, command))
