"""One HTTP/2 connection of a load: many unary calls at once, request frames made beforehand, one write for many calls.

No general client: requests have to fit the server's window of a stream, and answers one message. The status of every
call is looked at. The server is told to compress headers without a table, so that header blocks can be looked up.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol, cast

from serving.errors import NearlineError
from serving.loadtest import frames
from serving.loadtest.blocks import Blocks
from serving.loadtest.calls import Calls
from serving.loadtest.recorder import Recorder, now_ns
from serving.loadtest.sender import Sender
from serving.loadtest.statuses import Status

OUR_WINDOW = 1 << 30
LOST = Status("UNAVAILABLE", "the connection was lost")


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

    def __init__(self, sender: Sender, calls: Calls, owner: Owner) -> None:
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.calls = calls
        self.sender = sender
        self.owner = owner
        self._transport: asyncio.Transport | None = None
        self.rest = b""
        self._blocks = Blocks()
        self._read_bytes = 0
        self._going = False

    @property
    def room(self) -> int:
        """How many more calls may be sent now."""
        return 0 if self._going or not self.ready.done() else self.sender.room(self.running)

    @property
    def running(self) -> int:
        """Calls without an end."""
        return len(self.calls.running)

    def begin(self, recorder: Recorder) -> None:
        """Take down there from now on."""
        self.calls.recorder = recorder

    def send(self, due: Sequence[int]) -> None:
        """Send a call for each instant that one was due; at most `room`."""
        first = self.sender.next
        data = self.sender.take(len(due), (now_ns() - due[0]) / 1e9 if due else 0.0)
        self.calls.running.update(zip(range(first, self.sender.next, 2), due, strict=True))
        self.put(data)

    def put(self, data: bytes) -> None:
        """Write the frames of calls."""
        if self.sender.used_up:
            self._leave()
        self.write(data)

    def close(self) -> None:
        """Close at once; calls that run are not counted."""
        self.calls.running.clear()
        self._going = True
        if self._transport is not None:
            self._transport.abort()

    def give_up(self, status: Status) -> int:
        """End every call that runs with that status; return how many did."""
        return self.calls.give_up(status)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say hello."""
        made = cast("asyncio.Transport", transport)  # uvloop's is none by class
        self._transport = made
        said = {
            frames.HEADER_TABLE_SIZE: 0,
            frames.ENABLE_PUSH: 0,
            frames.INITIAL_WINDOW_SIZE: OUR_WINDOW,
        }
        update = frames.window_update(0, OUR_WINDOW - frames.PROTOCOL_WINDOW)
        made.write(frames.PREFACE + frames.settings(said) + update)

    def connection_lost(self, exc: Exception | None) -> None:
        """End what runs; let the owner make another one."""
        if not self.ready.done():
            reason = str(exc) if exc else "the server closed it before it said anything of HTTP/2"
            self.ready.set_exception(NearlineError(reason))
            return
        lost = self.give_up(LOST)
        if not self._going:
            self._going = True
            self.owner.closed(self, ())
        if lost:
            self.owner.freed(self, lost)

    def data_received(self, data: bytes) -> None:
        """Take every whole frame."""
        now = now_ns()
        if self.rest:
            data = self.rest + data
        unpack, size, position, ended = frames.HEADER.unpack_from, len(data), 0, 0
        end_call, messages = self.calls.end, self.calls.messages
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
        self.rest = data[position:]
        self.consumed(position)
        if ended:
            self.owner.freed(self, ended)

    def consumed(self, size: int) -> None:
        """Give the server's window back, now and then."""
        self._read_bytes += size
        if self._read_bytes > OUR_WINDOW >> 2:
            self.write(frames.window_update(0, self._read_bytes))
            self._read_bytes = 0

    def write(self, data: bytes) -> None:
        """Write, unless the connection is closing."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _rarer(self, kind: int, flags: int, stream: int, payload: bytes, now: int) -> int:
        """Return how many calls it ended."""
        match kind:
            case frames.DATA:
                messages = self.calls.messages
                messages[stream] = messages.get(stream, b"") + frames.unpadded(payload, flags)
                return self.calls.end(stream, b"", now) if flags & frames.END_STREAM else 0
            case frames.HEADERS | frames.CONTINUATION:
                whole = self._blocks.part(kind, flags, stream, payload)
                return self.calls.end(*whole, now) if whole else 0
            case frames.RST_STREAM:
                return self.calls.reset(stream, frames.read_word(payload))
            case frames.SETTINGS if not flags & frames.ACK:
                self._settle(frames.read_settings(payload))
            case frames.PING if not flags & frames.ACK:  # grpcio measures bandwidth with it
                self.write(frames.frame(frames.PING, frames.ACK, 0, payload))
            case frames.WINDOW_UPDATE if stream == 0:
                self.sender.window += frames.read_word(payload)
                self.owner.freed(self, 0)
            case frames.GOAWAY:
                self._leave(frames.read_word(payload))
            case _:
                pass
        return 0

    def _settle(self, said: dict[int, int]) -> None:
        self.write(frames.frame(frames.SETTINGS, frames.ACK, 0))
        first = not self.ready.done()
        try:
            self.sender.settle(said, first=first)
        except NearlineError as error:
            self.ready.set_exception(error)
            return
        if first:
            self.ready.set_result(None)

    def _leave(self, last: int = frames.LAST_STREAM) -> None:
        """Send no more here (GOAWAY, RFC 9113 §6.8, or no stream number is left); what was begun may end."""
        due = self.calls.beyond(last)
        if due or not self._going:
            self._going = True
            self.owner.closed(self, due)
