"""One table from our errors to gRPC status codes."""

from enum import IntEnum

import structlog

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

log = structlog.get_logger()


class Code(IntEnum):
    """All of gRPC's, with its values."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class StatusError(Exception):
    """A status of the handler's own choice. `details`: an encoded google.rpc.Status, or nothing."""

    def __init__(self, code: Code, message: str, details: bytes = b"") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details


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
    if isinstance(error, StatusError):
        return error.code, error.message
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code, str(error)
    return Code.INTERNAL, f"internal error ({type(error).__name__}); the server's log says more"


def judge(path: str, error: Exception) -> tuple[Code, str, bytes]:
    """Return the status of what a handler raised, with its details; a defect of ours goes to the log."""
    if isinstance(error, StatusError):
        return error.code, error.message, error.details
    if not isinstance(error, NearlineError):
        log.error("rpc.defect", method=path, exc_info=error)
    return *status_of(error), b""
