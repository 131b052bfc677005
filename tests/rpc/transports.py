"""The transports that every test of a transport runs against."""

from collections.abc import Callable, Sequence

from serving.rpc.grpcio_server import GrpcioServer
from serving.rpc.method import Method, Server
from serving.rpc.native.server import NativeServer
from serving.telemetry.metrics import Metrics

TRANSPORTS = ("grpcio", "native")


def make(transport: str, methods: Sequence[Method], address: str, metrics: Metrics, most: int) -> Server:
    kind: Callable[..., Server] = {"grpcio": GrpcioServer, "native": NativeServer}[transport]
    return kind(methods, address, metrics, most)
