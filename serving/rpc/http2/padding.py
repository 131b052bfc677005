"""Padding of DATA and HEADERS (RFC 9113 §6.1)."""

from serving.rpc.http2 import frames
from serving.rpc.http2.codes import ConnectionFault, ErrorCode


def unpadded(flags: int, payload: bytes) -> bytes:
    """Return the payload without its padding; ConnectionFault when that is longer than there is room."""
    if not flags & frames.PADDED:
        return payload
    if not payload:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "padding: expected its length")
    end = len(payload) - payload[0]
    if end < 1:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"padding: expected at most {len(payload) - 1}")
    return payload[1:end]
