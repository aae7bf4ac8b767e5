"""The floor: a bare grpc.aio server that answers Deposit without doing anything. Prints its port."""

import asyncio
import sys

import grpc

from app.rpc.gen import balance_pb2, balance_pb2_grpc


class Echo(balance_pb2_grpc.BalanceServiceServicer):
    """Answers at once."""

    async def Deposit(
        self, request: balance_pb2.DepositRequest, context: object
    ) -> balance_pb2.DepositResponse:
        return balance_pb2.DepositResponse(ok=True, new_balance=request.amount)


async def main() -> None:
    server = grpc.aio.server()
    balance_pb2_grpc.add_BalanceServiceServicer_to_server(Echo(), server)  # type: ignore[abstract]  # one method is called
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
