"""Every limit that protects a connection, with its default and its precedent. `docs/transport.md` lists them."""

from dataclasses import dataclass

PROTOCOL_WINDOW = 65_535
"""What both sides start with (RFC 9113 §6.9.2)."""
MAX_WINDOW = 2**31 - 1
MIN_FRAME, MAX_FRAME = 2**14, 2**24 - 1


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What one connection may make us do. Rates are a bucket: so many at once, so many more each second."""

    header_list_bytes: int = 16 << 10
    """Of one request, as RFC 9113 §6.5.2 counts (gRPC core's hard limit); the encoded block, too."""
    header_table_bytes: int = 4096
    """Of the peer's HPACK table here (the protocol's default)."""
    concurrent_streams: int = 1_000
    """Requests that run at once; one more is refused, unprocessed (RFC 9113 §5.1.2)."""
    frame_bytes: int = MIN_FRAME
    """Largest frame that is accepted (the protocol's least maximum)."""
    stream_window: int = 1 << 20
    """Bytes that a stream may send ahead of its reader."""
    connection_window: int = 8 << 20
    """Bytes that all streams may send ahead of one read of ours."""
    buffered_bytes: int = 32 << 20
    """Received and not consumed, or to be sent and not taken by the peer; beyond it, new streams are refused."""
    resets_burst: int = 1_000
    resets_per_s: int = 100
    """RST_STREAM received, and streams reset for a fault (CVE-2023-44487, rapid reset; nghttp2: 1000 and 33)."""
    controls_burst: int = 1_000
    controls_per_s: int = 100
    """PING and SETTINGS, which must be answered (CVE-2019-9512, CVE-2019-9515), PRIORITY and unknown frames."""
    empties_burst: int = 1_000
    empties_per_s: int = 100
    """Frames that carry nothing: DATA and CONTINUATION without a byte or an end (CVE-2019-9518, CVE-2024-27316)."""
    updates_burst: int = 20_000
    updates_per_s: int = 20_000
    """WINDOW_UPDATE beyond two for each call, which is what gRPC core sends."""
    continuations: int = 16
    """CONTINUATION frames of one header block (CVE-2024-27316)."""
