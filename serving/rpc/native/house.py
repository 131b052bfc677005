"""What all connections of a server share: the methods, the limits, and how much of them is used."""

from functools import lru_cache

from serving.rpc.errors import Code, StatusError
from serving.rpc.native.deadlines import Deadlines
from serving.rpc.native.limits import ServerLimits
from serving.rpc.native.queues import FullQueues
from serving.rpc.native.round import Round
from serving.rpc.native.routes import Routes
from serving.rpc.native.tally import Tally
from serving.telemetry.metrics import Metrics

SHARE = 0.75
"""Of a call's time: it may be gone before the call is begun. The rest is for its answer."""


class House:
    """Used on one event loop."""

    def __init__(self, routes: Routes, limits: ServerLimits, metrics: Metrics, max_message_bytes: int) -> None:
        self.routes = routes
        self.unknown = Tally(metrics, "unknown")
        """Of what asks for no method that there is."""
        self.limits = limits
        self.metrics = metrics.rpc
        self.max_message_bytes = max_message_bytes
        self._refused = metrics.online_refused
        self._struck = lru_cache(None)(metrics.rpc.limits.labels)  # our own names: they are few
        self.round = Round()
        self.deadlines = Deadlines()
        self.full_queues = FullQueues()
        self.running = 0
        """Unary calls that handlers work on."""
        self.too_many = f"server: expected at most {limits.running_calls} calls at once"
        self.streaming = 0
        """Streaming calls, which may last: they take no place from those that are over soon."""
        self.buffered = 0
        """Bytes that connections hold for them, or for their peers."""

    def strike(self, limit: str, times: int = 1) -> None:
        """Count a limit that was met."""
        self._struck(limit).inc(times)

    def flush(self) -> None:
        """Bring the metrics up to date."""
        self.metrics.running.set(self.running)
        self.metrics.streaming.set(self.streaming)
        for route in self.routes.values():
            route.tally.flush()
        self.unknown.flush()
        refused, self.full_queues.refused = self.full_queues.refused, {}
        for model, calls in refused.items():
            self._refused.labels(model, "overload").inc(calls)

    def refuses(self, timeout: float | None, waited_s: float, *, streaming: bool = False) -> tuple[str, str]:
        """Return why one more call, which has waited for so long, may have no handler: a limit, and words; "" = it may.

        There are too many, or the loop came to it too late: what a handler did for it would be late, too, and make all
        others wait.
        """
        limits = self.limits
        if streaming:
            if self.streaming >= limits.streaming_calls:
                return "streaming_calls", f"server: expected at most {limits.streaming_calls} streaming calls at once"
        elif self.crowded:
            return "running_calls", self.too_many
        most_s = limits.wait_s if timeout is None else min(limits.wait_s, timeout * SHARE)
        if waited_s > most_s:
            words = f"server: expected to begin within {most_s:.1f} s, got {waited_s:.1f} s of calls before this one"
            return "wait_s", words
        return "", ""

    @property
    def crowded(self) -> bool:
        """Whether handlers work on as many unary calls as they may."""
        return self.running >= self.limits.running_calls

    def admit(self, timeout: float | None, *, streaming: bool) -> None:
        """Let one more call have a handler; StatusError."""
        limit, words = self.refuses(timeout, self.round.seconds(), streaming=streaming)
        if limit:
            self.strike(limit)
            raise StatusError(Code.RESOURCE_EXHAUSTED, words)
        if streaming:
            self.streaming += 1
        else:
            self.running += 1

    def ended(self, calls: int = 1, *, streaming: bool) -> None:
        """Calls that had a handler are over."""
        if streaming:
            self.streaming -= calls
        else:
            self.running -= calls

    def full(self) -> bool:
        """Whether connections hold as much as they may."""
        if self.buffered <= self.limits.buffered_bytes:
            return False
        self.strike("buffered_bytes_of_all")
        return True
