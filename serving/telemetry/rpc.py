"""Metrics of our own transport."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class RpcMetrics:
    """What strikes, and what is open."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.limits = Counter(
            "nearline_rpc_limits", "Limits of the gRPC server that struck, by name.", ["limit"], registry=registry
        )
        self.connections = Gauge(
            "nearline_rpc_connections", "Open connections.", multiprocess_mode="livesum", registry=registry
        )
        self.running = Gauge(
            "nearline_rpc_running_calls",
            "Unary calls that wait for a handler.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.streaming = Gauge(
            "nearline_rpc_streaming_calls", "Streaming calls.", multiprocess_mode="livesum", registry=registry
        )
        self.accept_pauses = Counter(
            "nearline_rpc_accept_pauses", "Times that no connection was accepted, for want of room.", registry=registry
        )
