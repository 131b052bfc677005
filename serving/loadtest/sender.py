"""What is sent on one connection: frames of calls, within the server's settings and windows. Bytes only, no socket."""

from collections.abc import Callable, Iterator, Sequence
from itertools import repeat

from serving.errors import NearlineError
from serving.loadtest import frames
from serving.loadtest.heads import heads, less_time
from serving.loadtest.plan import Plan

_NOTICED = 0.05
"""Of its time-out: who waited for less says the same as all others."""


class Sender:
    """`next`: number of the next call's stream. `window`: bytes that the server takes now, on all streams."""

    def __init__(self, plan: Plan, bodies: Iterator[bytes], largest: int) -> None:
        self.next = 1
        self.window = frames.PROTOCOL_WINDOW
        self.largest = largest
        self._plan = plan
        self._bodies = bodies
        self._most = plan.streams
        self._frame_bytes = frames.PROTOCOL_FRAME
        self._heads: Iterator[bytes] = repeat(b"")
        self._less_time: Callable[[int], bytes] | None = None

    def settle(self, said: dict[int, int], *, first: bool) -> None:
        """Take over the server's settings; NearlineError where the requests do not fit."""
        self._most = min(self._plan.streams, said.get(frames.MAX_CONCURRENT_STREAMS, self._most))
        self._frame_bytes = said.get(frames.MAX_FRAME_SIZE, self._frame_bytes)
        if not first:
            return
        window = said.get(frames.INITIAL_WINDOW_SIZE, frames.PROTOCOL_WINDOW)
        if self.largest > window:
            error = f"requests: expected at most {window} bytes, the server's window of a stream, got {self.largest}"
            raise NearlineError(error)
        table = said.get(frames.HEADER_TABLE_SIZE, frames.PROTOCOL_TABLE)
        self._heads = heads(self._plan, table)
        if self._plan.deadline == "same":
            self._less_time = less_time(self._plan, table)

    def room(self, running: int) -> int:
        """How many more calls may be sent beside those."""
        return max(0, min(self._most - running, self.window // self.largest))

    @property
    def used_up(self) -> bool:
        """Whether the numbers of streams come to their end."""
        return self.next > frames.LAST_STREAM - 2 * frames.PROTOCOL_WINDOW

    def take(self, count: int, waited_s: float = 0.0) -> bytes:
        """Return the frames of so many calls, on the streams from `next` on; waited_s: since the first one was due."""
        blocks = self._heads
        if waited_s > self._plan.timeout_s * _NOTICED and self._less_time is not None and self.next > 1:
            blocks = repeat(self._less_time(max(1, round((self._plan.timeout_s - waited_s) * 1000))))
        out: list[bytes] = []
        pack, most, sent = frames.HEADER.pack, self._frame_bytes, 0
        streams = range(self.next, self.next + 2 * count, 2)
        # The range comes first: it ends the loop before anything else is taken.
        for stream, head, body in zip(streams, blocks, self._bodies, strict=False):
            size = len(body)
            sent += size
            if size <= most:
                out += (
                    pack(0, len(head), frames.HEADERS, frames.END_HEADERS, stream),
                    head,
                    pack(0, size, frames.DATA, frames.END_STREAM, stream),
                    body,
                )
            else:
                out += (pack(0, len(head), frames.HEADERS, frames.END_HEADERS, stream), head)
                out += self._split(stream, body)
        self.next = streams.stop
        self.window -= sent
        return b"".join(out)

    def _split(self, stream: int, body: bytes) -> Iterator[bytes]:
        step = self._frame_bytes
        for start in range(0, len(body), step):
            flags = frames.END_STREAM if start + step >= len(body) else 0
            yield frames.frame(frames.DATA, flags, stream, body[start : start + step])


def bodies_of(requests: Sequence[bytes]) -> list[bytes]:
    """Return what stands in DATA frames: each message behind its prefix, not compressed."""
    return [b"\0" + len(request).to_bytes(4, "big") + request for request in requests]
