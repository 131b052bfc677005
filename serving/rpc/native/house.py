"""What all connections of a server share: the methods, the limits, and how much of them is used."""

from serving.rpc.errors import Code, StatusError
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
        """Calls that handlers work on."""
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

    def admit(self) -> None:
        """Let one more call have a handler; StatusError when that is too much. It is not queued beyond its deadline."""
        if self.running >= self.limits.running_calls:
            self.strike("running_calls")
            words = f"server: expected at most {self.limits.running_calls} calls at once"
            raise StatusError(Code.RESOURCE_EXHAUSTED, words)
        self.running += 1

    def full(self) -> bool:
        """Whether connections hold as much as they may."""
        if self.buffered <= self.limits.buffered_bytes:
            return False
        self.strike("buffered_bytes_of_all")
        return True
