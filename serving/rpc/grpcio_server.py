"""The transport over `grpc.aio`: carries the methods, and knows nothing of what they mean."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import grpc
from google.protobuf.message import Message

from serving.errors import NearlineError
from serving.rpc.errors import Code, judge
from serving.rpc.method import Call, Kind, Method, Outgoing, Reply, decoded
from serving.telemetry.metrics import Metrics

_STATUS = {code.value[0]: code for code in grpc.StatusCode}


class GrpcioServer:
    """Serves on `address`; workers of a node share the port by SO_REUSEPORT."""

    def __init__(self, methods: Sequence[Method], address: str, metrics: Metrics, max_message_bytes: int) -> None:
        self._methods = methods
        self._address = address
        self._metrics = metrics
        self._max_message_bytes = max_message_bytes
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Bind and accept."""
        server = grpc.aio.server(
            options=(
                ("grpc.so_reuseport", 1),
                ("grpc.max_receive_message_length", self._max_message_bytes),
                ("grpc.max_send_message_length", self._max_message_bytes),
            )
        )
        server.add_generic_rpc_handlers((_Handlers(self._methods, self._metrics),))
        try:
            server.add_insecure_port(self._address)
        except RuntimeError as error:
            raise NearlineError(f"address: expected one that is free, got {self._address}") from error
        await server.start()
        self._server = server

    async def stop(self, grace_s: float) -> None:
        """Accept nothing new; give what runs `grace_s` seconds to end."""
        if self._server is not None:
            await self._server.stop(grace_s)


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio ships no types
    """Methods by path; an unknown one is UNIMPLEMENTED, by grpcio itself."""

    def __init__(self, methods: Sequence[Method], metrics: Metrics) -> None:
        self._handlers = {method.path: _handler(method, metrics) for method in methods}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """Find the handler of a call."""
        return self._handlers.get(handler_call_details.method)


def _handler(method: Method, metrics: Metrics) -> grpc.RpcMethodHandler:
    observe = _observer(method.path, metrics)
    if method.kind is Kind.UNARY:
        return grpc.unary_unary_rpc_method_handler(_unary(method, observe), None, _encode)
    make = (
        grpc.unary_stream_rpc_method_handler
        if method.kind is Kind.SERVER_STREAM
        else grpc.stream_stream_rpc_method_handler
    )
    return make(_streaming(method, observe), None, _encode)


def _observer(path: str, metrics: Metrics) -> Callable[[Code, float], None]:
    name = path.rpartition("/")[2]
    seconds = metrics.request_seconds.labels(name)

    def observe(code: Code, began: float) -> None:
        metrics.requests.labels(name, code.name).inc()
        seconds.observe(time.perf_counter() - began)

    return observe


def _unary(method: Method, observe: Callable[[Code, float], None]) -> Callable[[bytes, Any], Any]:
    async def answer(data: bytes, context: Any) -> Reply:
        began = time.perf_counter()
        call = _call(method, context)
        try:
            reply: Reply = await method.handler(decoded(method.request, data), call)
            await _metadata(call, context)
        except Exception as error:
            code, message, details = judge(method.path, error)
            observe(code, began)
            await _abort(call, context, code, message, details)
            raise  # abort has raised already
        observe(Code.OK, began)
        return reply

    return answer


def _streaming(method: Method, observe: Callable[[Code, float], None]) -> Callable[[Any, Any], Any]:
    async def answer(data: Any, context: Any) -> AsyncIterator[Reply]:
        began = time.perf_counter()
        call = _call(method, context)
        try:
            replies: AsyncIterator[Reply] = method.handler(_requests(method, data), call)
            first = True
            async for reply in replies:
                if first:
                    await _metadata(call, context)
                first = False
                yield reply
            await _metadata(call, context, initial=first)
        except Exception as error:  # noqa: BLE001 - every error becomes a status
            code, message, details = judge(method.path, error)
            observe(code, began)
            await _abort(call, context, code, message, details)
        else:
            observe(Code.OK, began)

    return answer


async def _metadata(call: Call, context: Any, *, initial: bool = True) -> None:
    outgoing = call.outgoing
    if outgoing is None:
        return
    if initial and outgoing.initial:
        await context.send_initial_metadata(outgoing.initial)
    if outgoing.trailing:
        context.set_trailing_metadata(outgoing.trailing)


async def _abort(call: Call, context: Any, code: Code, message: str, details: bytes) -> None:
    trailing = call.outgoing.trailing if call.outgoing is not None else ()
    if details:
        trailing = (*trailing, ("grpc-status-details-bin", details))
    await context.abort(_STATUS[code], message, trailing)


async def _requests(method: Method, data: Any) -> AsyncIterator[Message]:
    if isinstance(data, bytes):
        yield decoded(method.request, data)
        return
    async for part in data:
        yield decoded(method.request, part)


def _encode(reply: Reply) -> bytes:
    return reply if isinstance(reply, bytes) else reply.SerializeToString()


def _call(method: Method, context: Any) -> Call:
    remaining = context.time_remaining()
    return Call(
        path=method.path,
        peer=context.peer(),
        deadline=None if remaining is None else time.monotonic() + remaining,
        metadata=tuple((key, value) for key, value in context.invocation_metadata() or ()),
        outgoing=Outgoing(),
    )
