"""A collector as OpenTelemetry's: takes spans by OTLP over gRPC, and keeps them."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.end_to_end.waiting import wait_until


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """`refuse`: a status that it answers with instead of taking anything."""

    def __init__(self) -> None:
        self.address = ""
        self.refuse: grpc.StatusCode | None = None
        self.refused = 0
        self._lock = threading.Lock()
        self._spans: list[Span] = []
        self.resources: list[dict[str, str]] = []

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - the service has it so
        if self.refuse is not None:
            self.refused += 1
            context.abort(self.refuse, "not now")
        with self._lock:
            for group in request.resource_spans:
                self.resources.append({pair.key: pair.value.string_value for pair in group.resource.attributes})
                for scope in group.scope_spans:
                    self._spans += scope.spans
        return trace_service_pb2.ExportTraceServiceResponse()

    @property
    def spans(self) -> list[Span]:
        with self._lock:
            return list(self._spans)

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    def wait_for(self, name: str, count: int = 1) -> list[Span]:
        """Wait for so many spans of a name."""
        return wait_until(lambda: found if len(found := self.named(name)) >= count else None, f"{count} of {name}")


def attributes(span: Span) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, str(pair.value.WhichOneof("value"))) for pair in span.attributes}


@contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    add_service: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
    add_service(collector, server)
    collector.address = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield collector
    finally:
        server.stop(None).wait()
