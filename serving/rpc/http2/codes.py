"""Error codes of HTTP/2, and the two kinds of fault: of one stream, and of the whole connection (RFC 9113 §5.4)."""

from enum import IntEnum


class ErrorCode(IntEnum):
    """RFC 9113 §7."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


class ConnectionFault(Exception):  # noqa: N818 - what RFC 9113 calls a connection error, and a name that is Python's own
    """The peer broke a rule that the connection cannot survive, or struck a limit (`limit` names it)."""

    def __init__(self, code: ErrorCode, words: str, limit: str = "") -> None:
        super().__init__(words)
        self.code = code
        self.words = words
        self.limit = limit


class StreamFault(Exception):  # noqa: N818 - as above
    """The peer broke a rule, or struck a limit, in one stream; the others go on."""

    def __init__(self, stream_id: int, code: ErrorCode, words: str, limit: str = "") -> None:
        super().__init__(words)
        self.stream_id = stream_id
        self.code = code
        self.words = words
        self.limit = limit
