"""Spans of requests, by OpenTelemetry: the only file that knows it. Made when they are wanted, and nothing pays else.

Where they go, and which are kept, the standard variables say: OTEL_TRACES_SAMPLER, OTEL_RESOURCE_ATTRIBUTES,
OTEL_BSP_*, OTEL_EXPORTER_OTLP_*, OTEL_PROPAGATORS. By default whoever calls decides, and what comes without a
`traceparent` is kept.
"""

import logging
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import structlog

from serving.telemetry.trouble import Trouble

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span

Attributes = Mapping[str, str | int | float]

_STOP_S = 2.0
"""A collector that is away must not hold up the end of a worker."""


class Tracing:
    """Used from the event loop and from threads that run models. Spans leave in a thread of their own."""

    def __init__(self, exporter: "SpanExporter", version: str, node: str, worker: str) -> None:
        from opentelemetry import propagate, trace  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        ours = Resource({"service.name": "nearline", "service.version": version})
        instance = Resource({"service.instance.id": f"{node}/{worker}"})
        # What the variables say wins; a name that they do not say is "unknown_service" there.
        said = Resource.create({})
        if str(said.attributes.get("service.name", "")).startswith("unknown_service"):
            said = said.merge(ours)
        self._provider = TracerProvider(resource=said.merge(instance), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(_told(exporter)))
        self._tracer = self._provider.get_tracer("nearline", version)
        self._extract = propagate.extract
        self._api: Any = trace

    def request(self, path: str, metadata: Sequence[tuple[str, str | bytes]]) -> "RequestSpan":
        """Begin the span of an RPC, below its client's where the metadata name that. `path`: /package.Service/Name."""
        carrier = {name: value for name, value in metadata if isinstance(value, str)}
        service, _, method = path[1:].rpartition("/")
        span = self._tracer.start_span(
            path[1:],
            context=self._extract(carrier),
            kind=self._api.SpanKind.SERVER,
            attributes={"rpc.system": "grpc", "rpc.service": service, "rpc.method": method},
        )
        return RequestSpan(span, self._api)

    def current(self) -> "Span | None":
        """Return the span that runs here, if it is kept."""
        span: Span = self._api.get_current_span()
        return span if span.is_recording() else None

    def stage(
        self,
        parent: "Span",
        name: str,
        times_ns: tuple[int, int],
        attributes: Attributes,
        *,
        links: Sequence["Span"] = (),
        error: str = "",
    ) -> "Span":
        """Tell of a stage of a request that is over; times since the epoch."""
        span = self._tracer.start_span(
            name,
            context=self._api.set_span_in_context(parent),
            attributes=attributes,
            links=[self._api.Link(linked.get_span_context()) for linked in links],
            start_time=times_ns[0],
        )
        if error:
            span.set_status(self._api.StatusCode.ERROR, error)
        span.end(times_ns[1])
        return span

    def stamp(self, _logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        """Name trace and span on a line of the log; a processor of structlog."""
        context = self._api.get_current_span().get_span_context()
        if context.is_valid:
            event["trace_id"] = self._api.format_trace_id(context.trace_id)
            event["span_id"] = self._api.format_span_id(context.span_id)
        return event

    def stop(self) -> None:
        """Send what waits, within two seconds."""
        stopping = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        stopping.start()
        stopping.join(_STOP_S)


class RequestSpan:
    """Of one RPC."""

    __slots__ = ("_api", "_span")

    def __init__(self, span: "Span", api: Any) -> None:
        self._span = span
        self._api = api

    @property
    def kept(self) -> bool:
        """Whether anybody will see what is said of it."""
        return self._span.is_recording()

    def here(self) -> AbstractContextManager[Any]:
        """Make it the current span of a block."""
        current: AbstractContextManager[Any] = self._api.use_span(
            self._span, end_on_exit=False, record_exception=False, set_status_on_exception=False
        )
        return current

    def note(self, attributes: Attributes) -> None:
        """Say more of it."""
        self._span.set_attributes(attributes)

    def end(self, code: int, *, error: str = "") -> None:
        """End it with a gRPC status; `error`: what went wrong on the server's side."""
        self._span.set_attribute("rpc.grpc.status_code", code)
        if error:
            self._span.set_status(self._api.StatusCode.ERROR, error)
        self._span.end()


def _told(exporter: "SpanExporter") -> "SpanExporter":
    """The exporter, with a line of the log when its collector goes away and one when it is back, not one a batch."""
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult  # noqa: PLC0415 - an extra

    trouble = Trouble("traces.away", "traces.back")

    class Telling(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            result = exporter.export(spans)
            if result is SpanExportResult.SUCCESS:
                trouble.ended()
            return result

        def shutdown(self) -> None:
            exporter.shutdown()

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            trouble.met(record.getMessage())

    for name in ("opentelemetry.exporter.otlp.proto.grpc.exporter", "opentelemetry.sdk._shared_internal"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [Handler()], False
    return Telling()
