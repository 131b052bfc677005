"""One HTTP/2 connection of a load: many unary calls at once, request frames made beforehand, one write for many calls.

No general client: requests have to fit the server's window of a stream, and answers one message. The status of every
call is looked at. The server is told to compress headers without a table, so that header blocks can be looked up.
"""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Protocol, cast

from serving.errors import NearlineError
from serving.loadtest import frames
from serving.loadtest.calls import Calls
from serving.loadtest.plan import Plan
from serving.loadtest.recorder import Recorder, now_ns
from serving.loadtest.statuses import Status, request_blocks

_OUR_WINDOW = 1 << 30
_LOST = Status("UNAVAILABLE", "the connection was lost")


class Owner(Protocol):
    """Who has calls to be sent."""

    def freed(self, connection: "Connection", calls: int) -> None:
        """So many calls ended, or the server made room."""
        ...

    def closed(self, connection: "Connection", unprocessed: Sequence[int]) -> None:
        """Send no more here; calls that were due then have not been processed, and may be sent again."""
        ...


class Connection(asyncio.Protocol):
    """Ready to send once `ready` is done, when the server has said its settings."""

    def __init__(self, plan: Plan, requests: Iterator[bytes], largest: int, recorder: Recorder, owner: Owner) -> None:
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._plan = plan
        self._requests = requests
        self._largest = largest
        self._calls = Calls(plan.read, recorder)
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._block: tuple[int, int, bytes] | None = None
        self._next = 1
        self._most = plan.streams
        self._window = frames.PROTOCOL_WINDOW
        self._frame_bytes = frames.PROTOCOL_FRAME
        self._read_bytes = 0
        self._going = False
        self._first = self._again = b""

    @property
    def room(self) -> int:
        """How many more calls may be sent now."""
        if self._going or not self.ready.done():
            return 0
        return max(0, min(self._most - len(self._calls.running), self._window // self._largest))

    @property
    def running(self) -> int:
        """Calls without an end."""
        return len(self._calls.running)

    def begin(self, recorder: Recorder) -> None:
        """Take down there from now on."""
        self._calls.recorder = recorder

    def send(self, due: Sequence[int]) -> None:
        """Send a call for each instant that one was due; at most `room`."""
        out: list[bytes] = []
        pack, calls, requests, stream = frames.HEADER.pack, self._calls.running, self._requests, self._next
        head, sent = self._first, 0
        head_bytes = len(head)
        for instant in due:
            body = next(requests)
            size = len(body)
            calls[stream] = instant
            out += (pack(0, head_bytes, frames.HEADERS, frames.END_HEADERS, stream), head)
            if size <= self._frame_bytes:
                out += (pack(0, size, frames.DATA, frames.END_STREAM, stream), body)
            else:
                out += self._split(stream, body)
            if head is not self._again:
                head = self._first = self._again
                head_bytes = len(head)
            stream += 2
            sent += size
        self._next = stream
        self._window -= sent
        if stream > frames.LAST_STREAM - 2 * frames.PROTOCOL_WINDOW:
            self._leave()
        self._write(b"".join(out))

    def close(self) -> None:
        """Close at once; calls that run are not counted."""
        self._calls.running.clear()
        self._going = True
        if self._transport is not None:
            self._transport.abort()

    def give_up(self, status: Status) -> None:
        """End every call that runs with that status."""
        self._calls.give_up(status)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say hello."""
        made = cast("asyncio.Transport", transport)  # uvloop's is none by class
        self._transport = made
        said = {
            frames.HEADER_TABLE_SIZE: 0,
            frames.ENABLE_PUSH: 0,
            frames.INITIAL_WINDOW_SIZE: _OUR_WINDOW,
        }
        update = frames.window_update(0, _OUR_WINDOW - frames.PROTOCOL_WINDOW)
        made.write(frames.PREFACE + frames.settings(said) + update)

    def connection_lost(self, exc: Exception | None) -> None:
        """End what runs; let the owner make another one."""
        if not self.ready.done():
            reason = str(exc) if exc else "the server closed it before it said anything of HTTP/2"
            self.ready.set_exception(NearlineError(reason))
            return
        lost = self._calls.give_up(_LOST)
        if not self._going:
            self._going = True
            self._owner.closed(self, ())
        if lost:
            self._owner.freed(self, lost)

    def data_received(self, data: bytes) -> None:
        """Take every whole frame."""
        now = now_ns()
        if self._rest:
            data = self._rest + data
        unpack, size, position, ended = frames.HEADER.unpack_from, len(data), 0, 0
        end_call, messages = self._calls.end, self._calls.messages
        while size - position >= frames.HEADER_BYTES:
            high, low, kind, flags, stream = unpack(data, position)
            start = position + frames.HEADER_BYTES
            end = start + (high << 16) + low
            if end > size:
                break
            position = end
            if kind == frames.HEADERS and flags == frames.WHOLE:
                ended += end_call(stream, data[start:end], now)
            elif kind == frames.DATA and not flags and stream not in messages:
                messages[stream] = data[start:end]
            elif kind != frames.HEADERS or flags != frames.END_HEADERS:  # the opening says nothing that is wanted
                ended += self._rarer(kind, flags, stream, data[start:end], now)
        self._rest = data[position:]
        self._read_bytes += position
        if self._read_bytes > _OUR_WINDOW >> 2:
            self._write(frames.window_update(0, self._read_bytes))
            self._read_bytes = 0
        if ended:
            self._owner.freed(self, ended)

    def _rarer(self, kind: int, flags: int, stream: int, payload: bytes, now: int) -> int:
        """Return how many calls it ended."""
        match kind:
            case frames.DATA:
                messages = self._calls.messages
                messages[stream] = messages.get(stream, b"") + frames.unpadded(payload, flags)
                return self._calls.end(stream, b"", now) if flags & frames.END_STREAM else 0
            case frames.HEADERS | frames.CONTINUATION:
                return self._part(kind, flags, stream, payload, now)
            case frames.RST_STREAM:
                return self._calls.reset(stream, frames.read_word(payload))
            case frames.SETTINGS if not flags & frames.ACK:
                self._settle(frames.read_settings(payload))
            case frames.PING if not flags & frames.ACK:  # grpcio measures bandwidth with it
                self._write(frames.frame(frames.PING, frames.ACK, 0, payload))
            case frames.WINDOW_UPDATE if stream == 0:
                self._window += frames.read_word(payload)
                self._owner.freed(self, 0)
            case frames.GOAWAY:
                self._leave(frames.read_word(payload))
            case _:
                pass
        return 0

    def _part(self, kind: int, flags: int, stream: int, payload: bytes, now: int) -> int:
        """Header blocks with padding, priority or in several frames (RFC 9113 §6.2, §6.10)."""
        if kind == frames.HEADERS:
            self._block = (stream, flags, frames.unpadded(payload, flags))
        elif self._block is not None:
            stream, first, block = self._block
            self._block = (stream, first, block + payload)
        if not flags & frames.END_HEADERS or self._block is None:
            return 0
        stream, first, block = self._block
        self._block = None
        return self._calls.end(stream, block, now) if first & frames.END_STREAM else 0

    def _settle(self, said: dict[int, int]) -> None:
        self._write(frames.frame(frames.SETTINGS, frames.ACK, 0))
        self._most = min(self._plan.streams, said.get(frames.MAX_CONCURRENT_STREAMS, self._most))
        self._frame_bytes = said.get(frames.MAX_FRAME_SIZE, self._frame_bytes)
        window = said.get(frames.INITIAL_WINDOW_SIZE, frames.PROTOCOL_WINDOW)
        if self.ready.done():
            return
        if self._largest > window:
            error = f"requests: expected at most {window} bytes, the server's window of a stream, got {self._largest}"
            self.ready.set_exception(NearlineError(error))
            return
        plan = self._plan
        scheme = "http" if plan.certificates is None else "https"
        table = said.get(frames.HEADER_TABLE_SIZE, frames.PROTOCOL_TABLE)
        more = {"grpc-timeout": f"{max(1, round(plan.timeout_s * 1000))}m", **plan.metadata}
        self._first, self._again = request_blocks(plan.path, plan.target, scheme, more, table)
        self.ready.set_result(None)

    def _leave(self, last: int = frames.LAST_STREAM) -> None:
        """Send no more here (GOAWAY, RFC 9113 §6.8, or no stream number is left); what was begun may end."""
        due = self._calls.beyond(last)
        if due or not self._going:
            self._going = True
            self._owner.closed(self, due)

    def _split(self, stream: int, body: bytes) -> Iterator[bytes]:
        step = self._frame_bytes
        for start in range(0, len(body), step):
            flags = frames.END_STREAM if start + step >= len(body) else 0
            yield frames.frame(frames.DATA, flags, stream, body[start : start + step])

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
