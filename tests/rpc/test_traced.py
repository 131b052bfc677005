"""Spans of calls, over both transports, at a real collector: whose they are, how they end, and what the log says."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
import structlog
from grpc_health.v1.health_pb2 import HealthCheckRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from prometheus_client import CollectorRegistry

from serving.errors import InvalidRequestError
from serving.rpc.method import Call, Kind, Method
from serving.rpc.traced import traced
from serving.rpc.tracing import start_tracing
from serving.telemetry.metrics import Metrics
from tests.builders.waiting import wait_until
from tests.rpc.transports import TRANSPORTS, make
from tests.servers.ports import free_port
from tests.telemetry.collector import Collector, attributes, collecting

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = (("traceparent", f"00-{TRACE}-{PARENT}-01"), ("tracestate", "vendor=abc"))
UNSAMPLED = (("traceparent", f"00-{TRACE}-{PARENT}-00"),)
BEGUN: list[asyncio.Event] = []
log = structlog.get_logger()


async def echo(request: HealthCheckRequest, _call: Call) -> HealthCheckRequest:
    log.info("test.line", said=request.service)
    match request.service:
        case "bad" | "refused":
            raise InvalidRequestError("service", "a good one", "'bad'")
        case "defect":
            raise ZeroDivisionError("secret")
        case "slow":
            BEGUN[-1].set()
            await asyncio.Event().wait()
    return request


async def count(requests: AsyncIterator[HealthCheckRequest], _call: Call) -> AsyncIterator[HealthCheckRequest]:
    async for request in requests:
        for number in range(3):
            log.info("test.line", said=f"{request.service}{number}")
            yield HealthCheckRequest(service=f"{request.service}{number}")
        if request.service == "defect":
            raise ZeroDivisionError("secret")


def quick(*_given: Any) -> Any:
    raise AssertionError("expected the handler to be asked, which sees whose trace it is")


METHODS = [
    Method("/t.T/Unary", Kind.UNARY, HealthCheckRequest, echo),
    Method("/t.T/Now", Kind.UNARY, HealthCheckRequest, echo, quick),
    Method("/t.T/Soon", Kind.UNARY, HealthCheckRequest, echo, soon=quick),
    Method("/t.T/Watch", Kind.SERVER_STREAM, HealthCheckRequest, count),
    Method("/t.T/Both", Kind.BIDI_STREAM, HealthCheckRequest, count),
]
Scene = Callable[[grpc.aio.Channel], Awaitable[None]]


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def serve(transport: str, collector: Collector, scene: Scene) -> list[dict[str, Any]]:
    """Run a scene against a traced server; return the lines of its log. All spans have left at the end."""
    tracing = start_tracing(collector.address, "1.2.3", "here", "serving-0")
    lines = io.StringIO()
    structlog.configure(
        processors=[tracing.stamp, structlog.processors.JSONRenderer()],
        logger_factory=structlog.WriteLoggerFactory(lines),
    )

    async def run() -> None:
        address = f"127.0.0.1:{free_port()}"
        server = make(transport, traced(METHODS, tracing), address, Metrics(CollectorRegistry()), 1 << 20)
        await server.start()
        try:
            async with asyncio.timeout(120), grpc.aio.insecure_channel(address) as channel:
                await scene(channel)
        finally:
            await server.stop(0)

    try:
        asyncio.run(run())
    finally:
        tracing.stop()
        structlog.reset_defaults()
    return [json.loads(line) for line in lines.getvalue().splitlines()]


def ask(channel: grpc.aio.Channel, method: str, service: str, **options: Any) -> Any:
    call = channel.unary_unary(f"/t.T/{method}", HealthCheckRequest.SerializeToString, HealthCheckRequest.FromString)
    return call(HealthCheckRequest(service=service), **options)


async def failing(call: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as raised:
        await call
    code: grpc.StatusCode = raised.value.code()
    return code


def of_client(span: Span) -> bool:
    return (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)


def test_a_span_continues_the_trace_of_the_client_and_says_what_was_called(transport: str) -> None:
    async def scene(channel: grpc.aio.Channel) -> None:
        await ask(channel, "Unary", "x", metadata=SAMPLED)

    with collecting() as collector:
        lines = serve(transport, collector, scene)
        (span,) = collector.wait_for("t.T/Unary")
    assert of_client(span)
    assert (span.kind, span.trace_state) == (Span.SPAN_KIND_SERVER, "vendor=abc")
    assert attributes(span) == {
        "rpc.system": "grpc", "rpc.service": "t.T", "rpc.method": "Unary", "rpc.grpc.status_code": 0,
    }  # fmt: skip
    assert span.end_time_unix_nano > span.start_time_unix_nano
    (resource,) = collector.resources
    assert (resource["service.name"], resource["service.version"]) == ("nearline", "1.2.3")
    assert resource["service.instance.id"] == "here/serving-0"
    assert [(line["trace_id"], line["span_id"]) for line in lines] == [(TRACE, span.span_id.hex())]


@pytest.mark.parametrize("method", ["Now", "Soon"])
def test_a_method_that_needs_no_task_has_its_span_as_well(transport: str, method: str) -> None:
    async def scene(channel: grpc.aio.Channel) -> None:
        await ask(channel, method, "x", metadata=SAMPLED)

    with collecting() as collector:
        serve(transport, collector, scene)
        (span,) = collector.wait_for(f"t.T/{method}")
    assert of_client(span)


@pytest.mark.parametrize("method", ["Watch", "Both"])
def test_a_stream_is_one_span_with_the_lines_of_its_log(transport: str, method: str) -> None:
    async def scene(channel: grpc.aio.Channel) -> None:
        codec = (HealthCheckRequest.SerializeToString, HealthCheckRequest.FromString)
        if method == "Watch":
            call = channel.unary_stream("/t.T/Watch", *codec)(HealthCheckRequest(service="x"), metadata=SAMPLED)
        else:
            call = channel.stream_stream("/t.T/Both", *codec)(iter([HealthCheckRequest(service="x")]), metadata=SAMPLED)
        assert [reply.service async for reply in call] == ["x0", "x1", "x2"]

    with collecting() as collector:
        lines = serve(transport, collector, scene)
        (span,) = collector.wait_for(f"t.T/{method}")
    assert of_client(span)
    assert attributes(span)["rpc.grpc.status_code"] == 0
    assert [(line["trace_id"], line["span_id"]) for line in lines] == [(TRACE, span.span_id.hex())] * 3


@pytest.mark.parametrize(
    ("method", "said", "code", "of_the_server"),
    [
        ("Unary", "bad", grpc.StatusCode.INVALID_ARGUMENT, False),
        ("Unary", "defect", grpc.StatusCode.INTERNAL, True),
        ("Now", "refused", grpc.StatusCode.INVALID_ARGUMENT, False),
    ],
)
def test_a_failure_ends_the_span_with_its_status(
    transport: str, method: str, said: str, code: grpc.StatusCode, of_the_server: bool
) -> None:
    seen = []

    async def scene(channel: grpc.aio.Channel) -> None:
        seen.append(await failing(ask(channel, method, said, metadata=SAMPLED)))

    with collecting() as collector:
        lines = serve(transport, collector, scene)
        (span,) = collector.wait_for(f"t.T/{method}")
    assert seen == [code]
    assert attributes(span)["rpc.grpc.status_code"] == code.value[0]
    assert (span.status.code == Status.STATUS_CODE_ERROR) is of_the_server
    defects = [line for line in lines if line["event"] == "rpc.defect"]
    assert [line["span_id"] for line in defects] == [span.span_id.hex()] * of_the_server, "once, with its span"


def test_a_defect_of_a_stream_ends_its_span(transport: str) -> None:
    async def scene(channel: grpc.aio.Channel) -> None:
        codec = (HealthCheckRequest.SerializeToString, HealthCheckRequest.FromString)
        call = channel.unary_stream("/t.T/Watch", *codec)(HealthCheckRequest(service="defect"), metadata=SAMPLED)
        with pytest.raises(grpc.RpcError):
            [reply async for reply in call]

    with collecting() as collector:
        lines = serve(transport, collector, scene)
        (span,) = collector.wait_for("t.T/Watch")
    assert attributes(span)["rpc.grpc.status_code"] == grpc.StatusCode.INTERNAL.value[0]
    assert [line["span_id"] for line in lines if line["event"] == "rpc.defect"] == [span.span_id.hex()]


def test_a_deadline_and_a_cancellation_are_told_apart(transport: str) -> None:
    async def late(channel: grpc.aio.Channel) -> None:
        BEGUN[:] = [asyncio.Event()]
        assert await failing(ask(channel, "Unary", "slow", timeout=1)) is grpc.StatusCode.DEADLINE_EXCEEDED

    async def cancelled(channel: grpc.aio.Channel) -> None:
        BEGUN[:] = [asyncio.Event()]
        call = ask(channel, "Unary", "slow", timeout=60)
        await BEGUN[-1].wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    with collecting() as collector:

        def ends() -> set[int]:
            return {attributes(span)["rpc.grpc.status_code"] for span in collector.named("t.T/Unary")}

        def timed_out() -> bool:
            serve(transport, collector, late)
            return grpc.StatusCode.DEADLINE_EXCEEDED.value[0] in ends()

        serve(transport, collector, cancelled)
        assert ends() == {grpc.StatusCode.CANCELLED.value[0]}
        # A client that cancels at its deadline may be faster than the server's clock, now and then.
        wait_until(timed_out, "a call that the server knows to be late")


def test_a_trace_that_its_client_does_not_keep_is_not_kept_here_but_named_in_the_log(transport: str) -> None:
    async def scene(channel: grpc.aio.Channel) -> None:
        await ask(channel, "Unary", "unsampled", metadata=UNSAMPLED)
        await ask(channel, "Now", "hit", metadata=UNSAMPLED)
        await ask(channel, "Unary", "sampled", metadata=SAMPLED)

    with collecting() as collector:
        lines = serve(transport, collector, scene)
        collector.wait_for("t.T/Unary")
    assert len(collector.spans) == 1
    said = {line["said"]: line["trace_id"] for line in lines}
    assert (said["unsampled"], said["sampled"]) == (TRACE, TRACE)


@pytest.mark.parametrize("metadata", [(), (("traceparent", "00-zz-1-01"),)], ids=["none", "garbage"])
def test_what_comes_without_a_trace_begins_one(transport: str, metadata: tuple[tuple[str, str], ...]) -> None:
    async def scene(channel: grpc.aio.Channel) -> None:
        await ask(channel, "Unary", "x", metadata=metadata)

    with collecting() as collector:
        serve(transport, collector, scene)
        (span,) = collector.wait_for("t.T/Unary")
    assert (len(span.trace_id), span.parent_span_id) == (16, b"")


def test_the_sampler_of_the_standard_variables_decides(transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop-front")

    async def scene(channel: grpc.aio.Channel) -> None:
        await ask(channel, "Unary", "x")
        await ask(channel, "Unary", "x", metadata=SAMPLED)

    with collecting() as collector:
        serve(transport, collector, scene)
        (span,) = collector.wait_for("t.T/Unary")
    assert of_client(span)
    assert collector.resources[0]["service.name"] == "shop-front"


@pytest.mark.parametrize("state", ["away", "refusing"])
def test_a_collector_that_fails_fails_no_request_and_does_not_hold_up_the_end(transport: str, state: str) -> None:
    async def scene(channel: grpc.aio.Channel) -> None:
        for number in range(50):
            assert (await ask(channel, "Unary", f"x{number}", metadata=SAMPLED)).service == f"x{number}"

    if state == "away":
        nobody = Collector()
        nobody.address = f"http://127.0.0.1:{free_port()}"
        lines = serve(transport, nobody, scene)
    else:
        with collecting() as collector:
            collector.refuse = grpc.StatusCode.PERMISSION_DENIED
            lines = serve(transport, collector, scene)
            assert collector.refused
            assert not collector.spans
    assert [line for line in lines if line["event"] == "traces.away"], "said once, in the log's own form"
