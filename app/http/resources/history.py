"""What has happened on an account: transactions, ledger, and the chips held for buy-ins."""

from http import HTTPStatus
from typing import ClassVar

from falcon.asgi import Request, Response

from app.http import answers, requests
from app.http.errors import ApiError, refused
from app.http.life import FrontEndLife
from app.http.operations import SAME_ACCOUNT, Operation, Operations
from app.http.resources.accounts import NO_ACCOUNT
from app.services.access import Action, may

_MAY_BE_ABSENT = frozenset({HTTPStatus.NOT_FOUND})
_TRANSACTIONS_QUERY = requests.TransactionsQuery()
_LEDGER_QUERY = requests.LedgerQuery()
_NEWEST = SAME_ACCOUNT | {"transactionId": "$response.body#/transactions/0/transactionId"}


class _Reading:
    def __init__(self, life: FrontEndLife) -> None:
        self._life = life


class Transactions(_Reading):
    """/api/accounts/{account_id}/transactions."""

    operations: ClassVar[Operations] = {
        "GET": Operation(
            name="listTransactions",
            summary="The account's transactions, newest first, of all types or of one",
            access=Action.READ_ACCOUNT,
            query=_TRANSACTIONS_QUERY,
            answers={HTTPStatus.OK: answers.Transactions},
            errors=_MAY_BE_ABSENT,
            links=(("getAccountTransaction", _NEWEST),),
        )
    }

    async def on_get(self, req: Request, resp: Response, account_id: str) -> None:
        query = requests.load(_TRANSACTIONS_QUERY, req.params)
        limit, offset = query["limit"], query["offset"]
        page = await self._life.history.transactions(
            account_id, kind=query["type"], offset=offset, limit=limit
        )
        if page is None:
            raise refused(NO_ACCOUNT)
        resp.media = answers.transactions(page, limit, offset)


class Ledger(_Reading):
    """/api/accounts/{account_id}/ledger."""

    operations: ClassVar[Operations] = {
        "GET": Operation(
            name="getLedger",
            summary="The newest entries of the account's hash chain in a window of time, both ends included",
            access=Action.READ_ACCOUNT,
            query=_LEDGER_QUERY,
            answers={HTTPStatus.OK: answers.Ledger},
            errors=_MAY_BE_ABSENT,
        )
    }

    async def on_get(self, req: Request, resp: Response, account_id: str) -> None:
        query = requests.load(_LEDGER_QUERY, req.params)
        window = await self._life.history.ledger(account_id, **query)
        if window is None:
            raise refused(NO_ACCOUNT)
        resp.media = answers.ledger_window(window)


class Reservations(_Reading):
    """/api/accounts/{account_id}/reservations."""

    operations: ClassVar[Operations] = {
        "GET": Operation(
            name="listReservations",
            summary="The chips held for buy-ins now, the soonest to expire first",
            access=Action.READ_ACCOUNT,
            answers={HTTPStatus.OK: answers.Reservations},
            errors=_MAY_BE_ABSENT,
        )
    }

    async def on_get(self, _req: Request, resp: Response, account_id: str) -> None:
        held = await self._life.lookups.reservations(account_id)
        if not held and not (await self._life.queries.balance(account_id)).exists:
            raise refused(NO_ACCOUNT)
        resp.media = {"reservations": [answers.reservation(each) for each in held]}


class AccountTransaction(_Reading):
    """/api/accounts/{account_id}/transactions/{transaction_id}."""

    operations: ClassVar[Operations] = {
        "GET": Operation(
            name="getAccountTransaction",
            summary="One transaction of the account",
            access=Action.READ_ACCOUNT,
            answers={HTTPStatus.OK: answers.PastTransaction},
            errors=_MAY_BE_ABSENT,
        )
    }

    async def on_get(self, _req: Request, resp: Response, account_id: str, transaction_id: str) -> None:
        entry = await self._life.history.transaction(transaction_id)
        if entry is None or entry.account_id != account_id:
            raise _no_transaction()
        resp.media = answers.past_transaction(entry)


class AnyTransaction(_Reading):
    """/api/transactions/{transaction_id}."""

    operations: ClassVar[Operations] = {
        "GET": Operation(
            name="getTransaction",
            summary="One transaction, whichever account it is of",
            access=Action.READ_ANY,
            answers={HTTPStatus.OK: answers.PastTransaction},
            errors=_MAY_BE_ABSENT,
        )
    }

    async def on_get(self, req: Request, resp: Response, transaction_id: str) -> None:
        entry = await self._life.history.transaction(transaction_id)
        if entry is None or not may(req.context.principal, Action.READ_ACCOUNT, entry.account_id):
            raise _no_transaction()
        resp.media = answers.past_transaction(entry)


def _no_transaction() -> ApiError:
    return ApiError(HTTPStatus.NOT_FOUND, "there is no such transaction")
