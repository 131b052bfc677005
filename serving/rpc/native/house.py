"""What all connections of a server share: the methods, the limits, and how much of them is used."""

from serving.rpc.native.limits import ServerLimits
from serving.rpc.native.routes import Routes
from serving.telemetry.rpc import RpcMetrics


class House:
    """Used on one event loop."""

    def __init__(self, routes: Routes, limits: ServerLimits, metrics: RpcMetrics, max_message_bytes: int) -> None:
        self.routes = routes
        self.limits = limits
        self.metrics = metrics
        self.max_message_bytes = max_message_bytes
        self.running = 0
        """Calls that wait for their handlers."""
        self.buffered = 0
        """Bytes that connections hold for them, or for their peers."""

    def strike(self, limit: str) -> None:
        """Count a limit that was met."""
        self.metrics.limits.labels(limit).inc()

    def flush(self) -> None:
        """Bring the metrics up to date."""
        self.metrics.running.set(self.running)
        for route in self.routes.values():
            route.tally.flush()

    def overload(self) -> str:
        """Return why one more call is too much, or nothing."""
        if self.running >= self.limits.running_calls:
            self.strike("running_calls")
            return f"server: expected at most {self.limits.running_calls} calls at once"
        if self.buffered > self.limits.buffered_bytes:
            self.strike("buffered_bytes_of_all")
            return "server: too many bytes wait to be read or sent"
        return ""
