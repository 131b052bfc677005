"""The state of the world: a pure fold over the records of the `models` topic.

Every process folds the same records in the same order, so all of them agree without asking each other. A record
is judged once, by what stood before it: nothing that comes later, no clock and no node's configuration changes the
verdict. Whoever appends reads back to its own offset and takes the verdict of its own record from the fold.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from google.protobuf.message import DecodeError

from protos.digest import FileEntry, bundle_digest
from protos.names import InvalidNameError, check_digest, check_model_name, check_version
from protos.nearline.v1 import ledger_pb2, status_pb2

SCHEMA = 1
MILLION = 1_000_000
MAX_STATEMENT_BYTES = 1 << 20
MAX_FILES = 1_000


class Outcome(Enum):
    """What became of a record."""

    ACCEPTED = "accepted"
    REPEATED = "repeated"  # it says what is already so
    LOST = "lost"  # another rollout or retrial of this or a later epoch was first
    UNUSABLE = "unusable"  # not valid, for the reason given


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of one record. `kind` and `message` are set for LOST and UNUSABLE."""

    outcome: Outcome
    model: str = ""
    version: int = 0
    kind: "status_pb2.ErrorKind.ValueType" = status_pb2.ERROR_KIND_UNSPECIFIED
    message: str = ""


@dataclass(frozen=True, slots=True)
class Announced:
    """A version that exists."""

    version: int
    digest: str
    uri: str
    files: tuple[FileEntry, ...]
    held: bool
    offset: int
    created_at_ms: int


@dataclass(frozen=True, slots=True)
class Share:
    """Part of the entities, out of a million, that a version serves."""

    version: int
    weight_ppm: int


@dataclass(frozen=True, slots=True)
class Line:
    """Where (labels that must all match), and which versions."""

    scope: Mapping[str, str]
    shares: tuple[Share, ...]


@dataclass(slots=True)
class ModelRecord:
    """All that the ledger says of a model."""

    versions: dict[int, Announced] = field(default_factory=dict)
    epoch: int = 0
    lines: tuple[Line, ...] = ()
    retired: set[int] = field(default_factory=set)
    retrials: dict[int, int] = field(default_factory=dict)

    def snapshot(self) -> "ModelRecord":
        """Return a copy that later records do not change."""
        return ModelRecord(dict(self.versions), self.epoch, self.lines, set(self.retired), dict(self.retrials))


class _UnusableError(Exception):
    def __init__(self, kind: "status_pb2.ErrorKind.ValueType", message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(slots=True)
class World:
    """The folded ledger. `position` is the next offset to fold."""

    position: int = 0
    models: dict[str, ModelRecord] = field(default_factory=dict)

    def apply(self, offset: int, key: bytes | None, value: bytes | None) -> Verdict:
        """Fold the record at `offset`; never raises, whatever the bytes are."""
        self.position = max(self.position, offset + 1)
        model, version = "", 0
        try:
            statement = decode_statement(key, value)
            model = statement.model
            record = self.models.get(model) or ModelRecord()
            match statement.WhichOneof("kind"):
                case "announcement":
                    version = statement.announcement.version
                    verdict = _announce(record, offset, statement)
                case "rollout":
                    verdict = _roll_out(record, statement)
                case "retirement":
                    version = statement.retirement.version
                    verdict = _retire(record, statement)
                case "retrial":
                    version = statement.retrial.version
                    verdict = _retry(record, statement)
                case _:
                    raise _UnusableError(status_pb2.UNDECODABLE, "statement: expected one of the known kinds, got none")
        except _UnusableError as error:
            return Verdict(Outcome.UNUSABLE, model, version, error.kind, str(error))
        if verdict.outcome is Outcome.ACCEPTED:
            self.models[model] = record
        return verdict


def encode_statement(statement: ledger_pb2.Statement) -> bytes:
    """Return the record's value for a statement."""
    return ledger_pb2.LedgerEntry(schema=SCHEMA, statement=statement.SerializeToString()).SerializeToString()


def decode_statement(key: bytes | None, value: bytes | None) -> ledger_pb2.Statement:
    """Read a record of the ledger, or raise an error with the kind and the reason that are published."""
    if value is None or len(value) > MAX_STATEMENT_BYTES:
        size = "no value" if value is None else f"{len(value)} bytes"
        raise _UnusableError(status_pb2.UNDECODABLE, f"record: expected 1 to {MAX_STATEMENT_BYTES} bytes, got {size}")
    try:
        entry = ledger_pb2.LedgerEntry.FromString(value)
        statement = ledger_pb2.Statement.FromString(entry.statement)
    except (DecodeError, ValueError) as error:
        raise _UnusableError(status_pb2.UNDECODABLE, f"record: expected a LedgerEntry, got {error}") from error
    if entry.schema != SCHEMA:
        raise _UnusableError(status_pb2.UNDECODABLE, f"schema: expected {SCHEMA}, got {entry.schema}")
    try:
        check_model_name(statement.model)
    except InvalidNameError as error:
        raise _UnusableError(status_pb2.UNDECODABLE, str(error)) from error
    if key != statement.model.encode():
        raise _UnusableError(status_pb2.POLICY, f"key: expected the model's name {statement.model!r}, got {key!r}")
    return statement


def _announce(record: ModelRecord, offset: int, statement: ledger_pb2.Statement) -> Verdict:
    said = statement.announcement
    files = tuple(FileEntry(file.path, file.sha256, file.size) for file in said.files)
    try:
        check_version(said.version)
        check_digest(said.digest)
        for file in files:
            check_digest(file.sha256)
    except InvalidNameError as error:
        raise _UnusableError(status_pb2.UNDECODABLE, str(error)) from error
    if not files or len(files) > MAX_FILES:
        raise _UnusableError(status_pb2.POLICY, f"files: expected 1 to {MAX_FILES}, got {len(files)}")
    for file in files:
        parts = file.path.split("/")
        # A line break would let two lists of files have one digest (protos/digest.py).
        if not all(parts) or {".", ".."} & set(parts) or "\\" in file.path or not file.path.isprintable():
            raise _UnusableError(status_pb2.POLICY, f"path: expected a plain relative path, got {file.path!r}")
    if len({file.path for file in files}) != len(files):
        raise _UnusableError(status_pb2.POLICY, "path: expected each one once, got one twice")
    if bundle_digest(files) != said.digest:
        raise _UnusableError(
            status_pb2.DIGEST,
            f"digest: expected {bundle_digest(files)} of the files listed, got {said.digest}",
        )
    known = record.versions.get(said.version)
    if known and known.digest == said.digest:
        return Verdict(Outcome.REPEATED, statement.model, said.version)
    if known:
        raise _UnusableError(
            status_pb2.CONFLICT,
            f"version {said.version} was announced at offset {known.offset} with digest {known.digest}, "
            f"and now with {said.digest}",
        )
    record.versions[said.version] = Announced(
        said.version, said.digest, said.uri, files, said.held, offset, statement.created_at_ms
    )
    return Verdict(Outcome.ACCEPTED, statement.model, said.version)


def _roll_out(record: ModelRecord, statement: ledger_pb2.Statement) -> Verdict:
    said = statement.rollout
    lines = tuple(
        Line(dict(line.scope), tuple(Share(share.version, share.weight_ppm) for share in line.shares))
        for line in said.lines
    )
    if said.epoch == record.epoch and lines == record.lines and said.epoch:
        return Verdict(Outcome.REPEATED, statement.model)
    if said.epoch <= record.epoch:
        message = f"epoch: expected more than {record.epoch}, got {said.epoch}"
        return Verdict(Outcome.LOST, statement.model, 0, status_pb2.CONFLICT, message)
    for line in said.lines:
        for share in line.shares:
            known = _known(record, share.version)
            if share.version in record.retired:
                raise _UnusableError(status_pb2.POLICY, f"version {share.version} of {statement.model} is retired")
            if share.digest and share.digest != known.digest:
                raise _UnusableError(
                    status_pb2.DIGEST, f"version {share.version}: expected {known.digest}, got {share.digest}"
                )
        total = sum(share.weight_ppm for share in line.shares)
        if total != MILLION:
            raise _UnusableError(status_pb2.POLICY, f"weights of a line: expected a sum of {MILLION}, got {total}")
    record.epoch, record.lines = said.epoch, lines
    return Verdict(Outcome.ACCEPTED, statement.model)


def _retire(record: ModelRecord, statement: ledger_pb2.Statement) -> Verdict:
    version = statement.retirement.version
    _known(record, version)
    if version in record.retired:
        return Verdict(Outcome.REPEATED, statement.model, version)
    record.retired.add(version)
    return Verdict(Outcome.ACCEPTED, statement.model, version)


def _retry(record: ModelRecord, statement: ledger_pb2.Statement) -> Verdict:
    said = statement.retrial
    _known(record, said.version)
    current = record.retrials.get(said.version, 0)
    if said.epoch <= current:
        message = f"retrial: expected an epoch above {current}, got {said.epoch}"
        return Verdict(Outcome.LOST, statement.model, said.version, status_pb2.CONFLICT, message)
    record.retrials[said.version] = said.epoch
    return Verdict(Outcome.ACCEPTED, statement.model, said.version)


def _known(record: ModelRecord, version: int) -> Announced:
    known = record.versions.get(version)
    if known is None:
        raise _UnusableError(status_pb2.POLICY, f"version: expected an announced one, got {version}")
    return known
