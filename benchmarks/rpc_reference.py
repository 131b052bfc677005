"""The reference of P1 and P2: `grpc.aio` as a server that answers every call with the same bytes.

python -m benchmarks.rpc_reference FILE [CERTIFICATE KEY]    answers with the file's contents; says its port on a line
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

import grpc

from benchmarks.nodes import SERVER_CORE, pin


class _Anything(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio ships no types
    def __init__(self, reply: bytes) -> None:
        async def answer(_request: bytes, _context: Any) -> bytes:
            return reply

        self._handler = grpc.unary_unary_rpc_method_handler(answer)

    def service(self, _details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        return self._handler


async def main(reply: bytes, *certificate: bytes) -> None:
    """Serve until killed."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((_Anything(reply),))
    address = "127.0.0.1:0"
    if certificate:
        chain, key = certificate
        port = server.add_secure_port(address, grpc.ssl_server_credentials([(key, chain)]))
    else:
        port = server.add_insecure_port(address)
    await server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    await server.wait_for_termination()


if __name__ == "__main__":
    pin(SERVER_CORE)
    asyncio.run(main(*(Path(name).read_bytes() for name in sys.argv[1:])))
