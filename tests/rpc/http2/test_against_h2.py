"""Any conversation that the library `h2` can have as a client: both ends must agree on all of it."""

from typing import Any

import h2.events
import h2.exceptions
import h2.settings
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from serving.rpc.http2 import events as our
from serving.rpc.http2.codes import ErrorCode
from serving.rpc.http2.limits import ConnectionLimits
from serving.rpc.http2.literals import block
from serving.rpc.http2.streams import Stream
from tests.rpc.http2.peer import HEADERS, Joined

OPENING = block([(b":status", b"200"), (b"content-type", b"application/grpc")])
CLOSING = block([(b"grpc-status", b"0")])
SIZES = st.sampled_from([0, 1, 5, 9, 100, 3_000, 16_384, 70_000])
CUTS = st.lists(st.integers(1, 60), max_size=8)


class Conversation(RuleBasedStateMachine):
    """What was said on each stream, by either side, and what the other one heard."""

    def __init__(self) -> None:
        super().__init__()
        self.said: dict[int, bytes] = {}
        self.answered: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.finished: set[int] = set()
        self.gone: set[int] = set()
        self.told_off: set[int] = set()
        """Answered whole before the request was, which the client knows by now."""
        self.cuts: list[int] = []
        self.taken = 0

    @initialize(window=st.sampled_from([70_000, 1 << 20]))
    def join(self, window: int) -> None:
        self.joined = Joined(ConnectionLimits(stream_window=window, connection_window=max(window, 1 << 20)))

    def stream(self, data: st.DataObject, among: set[int]) -> int:
        return data.draw(st.sampled_from(sorted(among)))

    @property
    def open(self) -> set[int]:
        return set(self.said) - self.ended - self.gone - self.told_off

    @property
    def waiting(self) -> set[int]:
        return set(self.joined.ours.streams) - self.gone - self.finished

    @rule(end=st.booleans(), skip=st.integers(0, 2), timeout=st.none() | st.integers(1, 10**8 - 1))
    def ask(self, end: bool, skip: int, timeout: int | None) -> None:
        stream_id = self.joined.peer.get_next_available_stream_id() + 2 * skip
        fields = HEADERS if timeout is None else [*HEADERS, ("grpc-timeout", f"{timeout}m")]
        self.joined.peer.send_headers(stream_id, fields, end_stream=end, priority_weight=16 if skip else None)
        self.said[stream_id] = b""
        if end:
            self.ended.add(stream_id)

    @rule(content=SIZES)
    def ask_at_once(self, content: int) -> None:
        stream_id = self.joined.peer.get_next_available_stream_id()
        if content > min(16_384, self.joined.peer.outbound_flow_control_window):
            return
        self.joined.peer.send_headers(stream_id, HEADERS)
        self.joined.peer.send_data(stream_id, b"q" * content, end_stream=True)
        self.said[stream_id] = b"q" * content
        self.ended.add(stream_id)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), size=SIZES, end=st.booleans(), padding=st.sampled_from([None, 0, 7, 255]))
    def say(self, data: st.DataObject, size: int, end: bool, padding: int | None) -> None:
        stream_id, peer = self.stream(data, self.open), self.joined.peer
        size = min(size, peer.local_flow_control_window(stream_id) - 256, peer.max_outbound_frame_size - 256)
        if size < 0:
            return
        peer.send_data(stream_id, b"s" * size, end_stream=end, pad_length=padding)
        self.said[stream_id] += b"s" * size
        if end:
            self.ended.add(stream_id)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def trail(self, data: st.DataObject) -> None:
        stream_id = self.stream(data, self.open)
        self.joined.peer.send_headers(stream_id, [("x-end", "1")], end_stream=True)
        self.ended.add(stream_id)

    @precondition(lambda self: set(self.said) - self.gone)
    @rule(data=st.data())
    def reset(self, data: st.DataObject) -> None:
        stream_id = self.stream(data, set(self.said) - self.gone)
        try:
            self.joined.peer.reset_stream(stream_id, ErrorCode.CANCEL)
        except h2.exceptions.ProtocolError:
            return  # over already
        self.gone.add(stream_id)

    @rule(size=st.sampled_from([0, 100, 65_535, 1 << 20]))
    def change_window(self, size: int) -> None:
        self.joined.peer.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: size})

    @rule()
    def ping(self) -> None:
        self.joined.peer.ping(b"12345678")

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), size=SIZES, end=st.booleans())
    def answer(self, data: st.DataObject, size: int, end: bool) -> None:
        stream = self.joined.ours.streams[self.stream(data, self.waiting)]
        if stream.id not in self.answered:
            self.joined.ours.outbox.headers(stream, OPENING, end=False)
            self.answered[stream.id] = b""
        self.joined.ours.outbox.data(stream, b"a" * size)
        self.answered[stream.id] += b"a" * size
        if end:
            self.joined.ours.outbox.close(stream, CLOSING)
            self.finished.add(stream.id)

    @rule(cuts=CUTS)
    def carry(self, cuts: list[int]) -> None:
        """Bytes go both ways, and what each side took is given back."""
        joined = self.joined
        before = None
        while before != (before := (len(joined.told), len(joined.events))):
            joined.exchange(cuts)
            new, self.taken = joined.told[self.taken :], len(joined.told)  # with a window of a byte, there are many
            for event in new:
                if isinstance(event, h2.events.StreamReset):
                    self.told_off.add(event.stream_id or 0)
                if isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
                    joined.peer.acknowledge_received_data(event.flow_controlled_length, event.stream_id or 0)
            for stream in list(joined.ours.streams.values()):
                joined.ours.consumed(stream, stream.held)
                joined.ours.credit(stream)
        self.check()

    def check(self) -> None:
        joined = self.joined
        assert not joined.ours.closed, joined.ours.fault
        heard: dict[int, bytes] = {stream_id: content for stream_id, (_, content, _) in joined.complete.items()}
        ended = set(joined.complete)
        for event in joined.events:
            if isinstance(event, our.Received):
                heard[event.stream.id] = heard.get(event.stream.id, b"") + event.data
            if isinstance(event, our.Received | our.Opened) and event.ended:
                ended.add(event.stream.id)
        untouched = set(self.said) - self.gone - self.finished
        assert {n: heard.get(n, b"") for n in untouched} == {n: self.said[n] for n in untouched}
        assert untouched & self.ended == untouched & ended
        self.check_answers()

    def check_answers(self) -> None:
        told: dict[int, bytes] = {}
        over: set[Any] = set()
        for event in self.joined.told:
            if isinstance(event, h2.events.DataReceived):
                told[event.stream_id or 0] = told.get(event.stream_id or 0, b"") + event.data
            if isinstance(event, h2.events.StreamEnded):
                over.add(event.stream_id)
        blocked = {stream.id for stream in self.joined.ours.streams.values() if stream.queued}
        whole = {n for n in self.answered if n not in self.gone and n not in blocked}
        assert {n: told.get(n, b"") for n in whole} == {n: self.answered[n] for n in whole}
        assert whole & self.finished == {n for n in over if n in whole}

    @invariant()
    def accounts_are_right(self) -> None:
        session = self.joined.ours.session
        streams: list[Stream] = list(session.streams.values())
        assert session.buffered == sum(stream.held for stream in streams)
        assert session.outbox.queued == sum(stream.queued for stream in streams)
        for stream in streams:
            assert stream.queued == sum(len(part) for part in stream.pending)


TestConversation = Conversation.TestCase
TestConversation.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
