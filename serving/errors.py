"""Every error that crosses a module of ours, as one tree.

    NearlineError
    ├── UserError               what a person or a client asked for cannot be; the message says what to do
    │   ├── InvalidRequestError     a field is wrong: names field, expected and actual
    │   ├── NotFoundError           no such model, version or objective
    │   └── ConflictError           somebody else was first
    ├── UnavailableError        a part is away or not ready yet; trying again may help
    │   ├── BusUnavailableError
    │   ├── StoreUnavailableError
    │   │   └── StoreFullError      what was to be written would take more room than there is
    │   ├── ArtifactUnavailableError
    │   └── OverloadedError         more is asked for than can be done in time; nothing was done
    ├── ExpiredError            nobody waits for the answer any more; nothing was done
    ├── PositionConflictError   the store has moved on: whoever writes is not the shard's owner any more
    ├── GateError               a bundle must not be announced (publisher/gate/report.py)
    └── ModelError              a model instance cannot go on; carries the ErrorKind that is published
        └── ModelInputError         a run failed because of the values that it was given

Nothing here knows of gRPC codes or exit codes: serving/rpc/errors.py and serving/cli/errors.py translate.
Foreign exceptions are converted where they come in, at the adapter's edge.
"""

from protos.nearline.v1 import status_pb2


class NearlineError(Exception):
    """Root of the tree. `retriable`: the same call may succeed later."""

    retriable = False


class UserError(NearlineError):
    """What was asked for cannot be done."""


class InvalidRequestError(UserError):
    """A field is wrong."""

    def __init__(self, field: str, expected: str, actual: object) -> None:
        super().__init__(f"{field}: expected {expected}, got {actual}")
        self.field = field
        self.expected = expected
        self.actual = actual


class NotFoundError(UserError):
    """No such thing."""


class ConflictError(UserError):
    """Somebody else was first."""


class UnavailableError(NearlineError):
    """A part is away or not ready."""

    retriable = True


class BusUnavailableError(UnavailableError):
    """The bus cannot be reached, or did not answer in time."""


class StoreUnavailableError(UnavailableError):
    """The store cannot be reached, is full (StoreFullError), or did not answer in time."""


class StoreFullError(StoreUnavailableError):
    """The store has no room for what was to be written; nothing was. Removing still works."""


class ArtifactUnavailableError(UnavailableError):
    """A file of the artifact store is missing, unreachable or shorter than announced."""


class OverloadedError(UnavailableError):
    """More is asked for than can be done in time; nothing was done.

    `wait_s`: how long it would have taken, where that was the reason; `most_s`: how long anything may;
    `model`: whose, if it was one's.
    """

    def __init__(self, message: str, wait_s: float = 0.0, most_s: float = 0.0, model: str = "") -> None:
        super().__init__(message)
        self.model = model
        self.wait_s = wait_s
        self.most_s = most_s


class ExpiredError(NearlineError):
    """The deadline has passed; nothing was done."""


class PositionConflictError(NearlineError):
    """The shard's stored cursor is not the expected one; nothing was written."""


class ModelError(NearlineError):
    """A model instance cannot go on.

    `kind` is published. `rejected`: trying again cannot help. `detail`: as much as helps, over many lines.
    """

    def __init__(
        self,
        kind: "status_pb2.ErrorKind.ValueType",
        message: str,
        *,
        detail: str = "",
        rejected: bool = False,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.detail = detail
        self.rejected = rejected


class ModelInputError(ModelError):
    """A run failed because of the values that it was given, says the runtime; the model itself may be well."""
