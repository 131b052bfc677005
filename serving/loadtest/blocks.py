"""Header blocks that come with padding, with priority, or in several frames (RFC 9113 §6.2, §6.10)."""

from serving.loadtest import frames


class Blocks:
    """Of one connection: no other frame may come between the parts of a block."""

    def __init__(self) -> None:
        self._begun: tuple[int, int, bytes] | None = None

    def part(self, kind: int, flags: int, stream: int, payload: bytes) -> tuple[int, bytes] | None:
        """Take HEADERS or CONTINUATION; return stream and block once one is whole that ends its stream."""
        if kind == frames.HEADERS:
            self._begun = (stream, flags, frames.unpadded(payload, flags))
        elif self._begun is not None:
            stream, first, block = self._begun
            self._begun = (stream, first, block + payload)
        if not flags & frames.END_HEADERS or self._begun is None:
            return None
        stream, first, block = self._begun
        self._begun = None
        return (stream, block) if first & frames.END_STREAM else None
