"""Tracing by its setting, imported on choice."""

from serving.errors import UserError
from serving.telemetry.tracing import Tracing


def start_tracing(traces: str, version: str, node: str, worker: str) -> Tracing:
    """Return what makes this process's spans; UserError without the extra. `traces`: as the setting has it."""
    demand_otel()
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - an extra

    # None: as the standard variables say.
    exporter = OTLPSpanExporter(endpoint=None if traces == "otlp" else traces)
    return Tracing(exporter, version, node, worker)


def demand_otel() -> None:
    """UserError without the extra."""
    try:
        import opentelemetry.exporter.otlp.proto.grpc  # noqa: PLC0415 - only to see whether both are there
        import opentelemetry.sdk  # noqa: F401, PLC0415 - as above
    except ImportError:
        raise UserError("traces: expected OpenTelemetry, got none; pip install 'nearline[otel]'") from None
