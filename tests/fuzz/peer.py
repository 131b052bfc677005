"""What a peer hears: whole frames, and nothing of a stream after its end."""

from serving.rpc.http2 import frames

_PART_OF_ANSWERS = frozenset((frames.DATA, frames.HEADERS, frames.CONTINUATION, frames.WINDOW_UPDATE))


class Peer:
    """`answered`: bytes of all frames that belong to no answer. `left`: GOAWAY came."""

    def __init__(self) -> None:
        self.answered = 0
        self.left = False
        self._ended: set[int] = set()

    def hear(self, data: bytes) -> None:
        """AssertionError for what no server may send. Each call gets whole frames."""
        position = 0
        while position < len(data):
            high, low, kind, flags, stream_id = frames.HEADER.unpack_from(data, position)
            position += frames.HEADER_BYTES + (high << 16) + low
            assert position <= len(data), "a frame's end is missing"
            if kind not in _PART_OF_ANSWERS:
                self.answered += frames.HEADER_BYTES + (high << 16) + low
            self.left |= kind == frames.GOAWAY
            if kind in {frames.DATA, frames.HEADERS}:
                assert stream_id not in self._ended, f"stream {stream_id}: more after its end"
                if flags & frames.END_STREAM:
                    self._ended.add(stream_id)
            elif kind == frames.RST_STREAM:
                self._ended.add(stream_id)
