"""gRPC's interoperability service: what its test clients of every language call."""

import asyncio
from collections.abc import AsyncIterator

from serving.rpc.errors import Code, StatusError
from serving.rpc.method import Call, Kind, Method
from tests.rpc.interop import interop_pb2 as pb

_SERVICE = "/grpc.testing.TestService"


async def empty(_request: pb.Empty, call: Call) -> pb.Empty:
    _mirror(call)
    return pb.Empty()


async def unary(request: pb.SimpleRequest, call: Call) -> pb.SimpleResponse:
    _mirror(call)
    _fail(request)
    return pb.SimpleResponse(payload=_payload(request.response_size))


async def inputs(
    requests: AsyncIterator[pb.StreamingInputCallRequest], call: Call
) -> AsyncIterator[pb.StreamingInputCallResponse]:
    _mirror(call)
    sizes = [len(request.payload.body) async for request in requests]
    yield pb.StreamingInputCallResponse(aggregated_payload_size=sum(sizes))


async def outputs(
    requests: AsyncIterator[pb.StreamingOutputCallRequest], call: Call
) -> AsyncIterator[pb.StreamingOutputCallResponse]:
    _mirror(call)
    async for request in requests:
        _fail(request)
        for wanted in request.response_parameters:
            await asyncio.sleep(wanted.interval_us / 1e6)
            yield pb.StreamingOutputCallResponse(payload=_payload(wanted.size))


METHODS = [
    Method(f"{_SERVICE}/EmptyCall", Kind.UNARY, pb.Empty, empty),
    Method(f"{_SERVICE}/UnaryCall", Kind.UNARY, pb.SimpleRequest, unary),
    Method(f"{_SERVICE}/StreamingInputCall", Kind.BIDI_STREAM, pb.StreamingInputCallRequest, inputs),
    Method(f"{_SERVICE}/StreamingOutputCall", Kind.SERVER_STREAM, pb.StreamingOutputCallRequest, outputs),
    Method(f"{_SERVICE}/FullDuplexCall", Kind.BIDI_STREAM, pb.StreamingOutputCallRequest, outputs),
]


def _payload(size: int) -> pb.Payload:
    return pb.Payload(body=bytes(size))


def _fail(request: pb.SimpleRequest | pb.StreamingOutputCallRequest) -> None:
    if request.response_status.code:
        raise StatusError(Code(request.response_status.code), request.response_status.message)


def _mirror(call: Call) -> None:
    outgoing = call.outgoing
    assert outgoing is not None
    outgoing.initial = tuple(pair for pair in call.metadata if pair[0] == "x-grpc-test-echo-initial")
    outgoing.trailing = tuple(pair for pair in call.metadata if pair[0] == "x-grpc-test-echo-trailing-bin")
