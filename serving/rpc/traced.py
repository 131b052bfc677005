"""Methods with a span for each call, whatever carries them. Without tracing nobody wraps them, and nothing is paid.

A call that no handler saw (an unknown method, a caller who may not, a message that is too large) has no span.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, cast

from protos.inference import inference_pb2
from protos.nearline.v1 import recommender_pb2
from serving.errors import NearlineError
from serving.rpc.errors import Code, StatusError, judge
from serving.rpc.method import Call, Kind, Method, Reply
from serving.telemetry.tracing import RequestSpan, Tracing

_OURS = frozenset(
    (Code.UNKNOWN, Code.DEADLINE_EXCEEDED, Code.UNIMPLEMENTED, Code.INTERNAL, Code.UNAVAILABLE, Code.DATA_LOSS)
)
"""What is an error of the server, not of its client (OpenTelemetry: semantic conventions for gRPC)."""
_EARLY_S = 0.01
"""grpcio counts deadlines in milliseconds of another clock."""


def traced(methods: Sequence[Method], tracing: Tracing) -> list[Method]:
    """Return the methods, each with spans."""
    return [_traced(method, tracing) for method in methods]


def _traced(method: Method, tracing: Tracing) -> Method:
    if method.kind is not Kind.UNARY:
        return replace(method, handler=_stream(method, tracing))
    # What is answered without a task sees no metadata, so a span could not be below its client's.
    return replace(method, handler=_unary(method, tracing), now=None, soon=None, together=None)


def _unary(method: Method, tracing: Tracing) -> Callable[[Any, Call], Any]:
    describe = _DESCRIBED.get(method.path)

    async def answer(request: Any, call: Call) -> Reply:
        span = tracing.request(method.path, call.metadata)
        with span.here():
            try:
                reply: Reply = await method.handler(request, call)
            except asyncio.CancelledError:
                _given_up(span, call)
                raise
            except Exception as error:
                _fail(span, method, error)
                raise
            if describe is not None and span.kept:
                span.note(describe(reply))
            span.end(Code.OK)
            return reply

    return answer


def _stream(method: Method, tracing: Tracing) -> Callable[[AsyncIterator[Any], Call], AsyncIterator[Reply]]:
    async def answer(requests: AsyncIterator[Any], call: Call) -> AsyncIterator[Reply]:
        span = tracing.request(method.path, call.metadata)
        try:
            async with aclosing(method.handler(requests, call)) as replies:
                while True:
                    # Not around the `yield`: whoever takes the answers is no part of this.
                    with span.here():
                        try:
                            reply: Reply = await anext(replies)
                        except StopAsyncIteration:
                            break
                    yield reply
        except (asyncio.CancelledError, GeneratorExit):
            _given_up(span, call)
            raise
        except Exception as error:
            with span.here():
                _fail(span, method, error)
            raise
        span.end(Code.OK)

    return answer


def _fail(span: RequestSpan, method: Method, error: Exception) -> None:
    """End a span whose call failed.

    A defect gets its line of the log here, where the line can name the span, and goes on as a status.
    """
    code, message, _ = judge(method.path, error)
    span.end(code, error=message if code in _OURS else "")
    if not isinstance(error, NearlineError | StatusError):
        raise StatusError(code, message) from error


def _given_up(span: RequestSpan, call: Call) -> None:
    late = call.deadline is not None and time.monotonic() >= call.deadline - _EARLY_S
    code = Code.DEADLINE_EXCEEDED if late else Code.CANCELLED
    span.end(code, error=code.name if late else "")


def _recommended(reply: Reply) -> Mapping[str, str | int]:
    answer = recommender_pb2.RecommendResponse.FromString(cast("bytes", reply))
    source = recommender_pb2.Source.Name(answer.source)
    return {"nearline.model": answer.model, "nearline.version": answer.version, "nearline.source": source}


def _inferred(reply: Reply) -> Mapping[str, str | int]:
    answer = inference_pb2.ModelInferResponse.FromString(cast("bytes", reply))
    return {"nearline.model": answer.model_name, "nearline.version": int(answer.model_version)}


_DESCRIBED: Mapping[str, Callable[[Reply], Mapping[str, str | int]]] = {
    "/nearline.v1.Recommender/Recommend": _recommended,
    "/inference.GRPCInferenceService/ModelInfer": _inferred,
}
