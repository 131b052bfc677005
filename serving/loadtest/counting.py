"""A connection that counts answers without reading them: costs the server's core more than the load's, always.

It reads like every other until it has seen how a call of this server ends well. If that is a literal, whose bytes are
always the same, it looks for these bytes from then on, and for nothing else.
"""

import re

from serving.loadtest import frames
from serving.loadtest.connection import Connection
from serving.loadtest.recorder import now_ns
from serving.loadtest.statuses import STATUS_NAME, Status, status_of

_OK = STATUS_NAME + b"\x010"
_CODES = re.compile(re.escape(STATUS_NAME) + rb"(?:\x01(\d)|\x02(\d\d))")
_VALUE_BYTES = len(_OK) - len(STATUS_NAME)


class CountingConnection(Connection):
    """Trusts the server's framing, and that no answer has the bytes of trailers in it: compare with its counters."""

    _count: int | None = None
    """Calls that run, once they are only counted."""

    @property
    def running(self) -> int:
        """Calls without an end."""
        return len(self.calls.running) if self._count is None else self._count

    def send(self, due: "list[int]") -> None:  # type: ignore[override]  # what closed loops give
        """Send so many calls."""
        if self._count is None:
            super().send(due)
        else:
            self._count += len(due)
            self.put(self.sender.take(len(due)))

    def give_up(self, status: Status) -> int:
        """End every call that runs with that status; return how many did."""
        if self._count is None:
            return super().give_up(status)
        count, self._count, now = self._count, 0, now_ns()
        for _ in range(count):
            self.calls.recorder.failed(status, now)
        return count

    def data_received(self, data: bytes) -> None:
        """Count what ends in it."""
        if self._count is None:
            super().data_received(data)
            self._learn()
            return
        data = self.rest + data
        # A name that has no room for its value is looked at with the next read; one byte less than both is kept.
        answered, ended = data.count(_OK), data.count(STATUS_NAME, 0, len(data) - _VALUE_BYTES)
        self.consumed(len(data) - len(self.rest))
        self.rest = data[1 - len(_OK) :]
        now = now_ns()
        self.calls.recorder.count(answered, now)
        if answered != ended:
            self._failed(data, ended - answered, now)
        self._count -= ended
        if ended:
            self.owner.freed(self, ended)

    def _failed(self, data: bytes, count: int, now: int) -> None:
        codes = [int(one or two) for one, two in _CODES.findall(data)]
        failed = [status_of(code) for code in codes if code][:count]
        for status in failed + [status_of(-1)] * (count - len(failed)):  # a value may be cut by the end of the read
            self.calls.recorder.failed(status, now)

    def _learn(self) -> None:
        """Begin to count. Windows are no longer looked at then, so all that runs has to fit the least one twice."""
        if self.calls.ok.endswith(_OK) and self.running * self.sender.largest <= frames.PROTOCOL_WINDOW // 2:
            self.sender.window = 1 << 62
            self._count = len(self.calls.running)
            self.calls.running.clear()
            self.calls.messages.clear()
