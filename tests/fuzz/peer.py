"""What a peer hears: whole frames, and nothing of a stream after its end."""

from dataclasses import dataclass, field

from serving.rpc.http2 import frames

_PART_OF_ANSWERS = frozenset((frames.DATA, frames.HEADERS, frames.CONTINUATION, frames.WINDOW_UPDATE))


@dataclass(slots=True)
class Said:
    """Of one stream: header blocks, content, and whether it ended well."""

    blocks: list[bytes] = field(default_factory=list)
    body: bytes = b""
    ended: bool = False


class Peer:
    """`answered`: bytes of all frames that belong to no answer. `left`: GOAWAY came. `said`: on the streams `after`."""

    def __init__(self) -> None:
        self.answered = 0
        self.left = False
        self.after = 1 << 31
        self.said: dict[int, Said] = {}
        self._ended: set[int] = set()

    def hear(self, data: bytes) -> None:
        """AssertionError for what no server may send. Each call gets whole frames."""
        position = 0
        while position < len(data):
            high, low, kind, flags, stream_id = frames.HEADER.unpack_from(data, position)
            start = position + frames.HEADER_BYTES
            position = start + (high << 16) + low
            assert position <= len(data), "a frame's end is missing"
            if kind not in _PART_OF_ANSWERS:
                self.answered += position - start + frames.HEADER_BYTES
            self.left |= kind == frames.GOAWAY
            if kind in {frames.DATA, frames.HEADERS}:
                assert stream_id not in self._ended, f"stream {stream_id}: more after its end"
                if flags & frames.END_STREAM:
                    self._ended.add(stream_id)
                if stream_id > self.after:
                    self._take(stream_id, kind, flags, data[start:position])
            elif kind == frames.RST_STREAM:
                self._ended.add(stream_id)

    def _take(self, stream_id: int, kind: int, flags: int, payload: bytes) -> None:
        said = self.said.setdefault(stream_id, Said())
        if kind == frames.HEADERS:
            said.blocks.append(payload)
        else:
            said.body += payload
        said.ended = bool(flags & frames.END_STREAM)
