"""One table from our errors to gRPC status codes."""

from enum import IntEnum

from serving.errors import (
    ConflictError,
    ExpiredError,
    InvalidRequestError,
    ModelError,
    NearlineError,
    NotFoundError,
    OverloadedError,
    UnavailableError,
    UserError,
)


class Code(IntEnum):
    """The codes that we answer with; values as in the gRPC protocol."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    FAILED_PRECONDITION = 9
    RESOURCE_EXHAUSTED = 8
    ABORTED = 10
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


_CODES: tuple[tuple[type[NearlineError], Code], ...] = (
    (InvalidRequestError, Code.INVALID_ARGUMENT),
    (NotFoundError, Code.NOT_FOUND),
    (ConflictError, Code.ABORTED),
    (UserError, Code.FAILED_PRECONDITION),
    (OverloadedError, Code.RESOURCE_EXHAUSTED),
    (ExpiredError, Code.DEADLINE_EXCEEDED),
    (UnavailableError, Code.UNAVAILABLE),
    (ModelError, Code.INTERNAL),
    (NearlineError, Code.INTERNAL),
)


def status_of(error: Exception) -> tuple[Code, str]:
    """Return the status and its message; a defect of ours shows its type, and its words stay in the log."""
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code, str(error)
    return Code.INTERNAL, f"internal error ({type(error).__name__}); the server's log says more"
