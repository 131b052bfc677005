"""The state of the world: a pure fold over the records of the `models` topic.

Every process folds the same records in the same order, so all of them agree without asking each other. A record
is judged once, by what stood before it: nothing that comes later and no clock changes the verdict. Whoever appends
reads back to its own offset and takes the verdict of its own record from the fold.

Whose statements count is the one thing that an installation configures: a judge (serving/trust/) sees each record
first, and what it refuses has never been said: it takes no version, no epoch and no number. With the same trusted
keys the verdicts are the same everywhere.
"""

from dataclasses import dataclass, field

from google.protobuf.message import DecodeError

from protos import judging
from protos.judging import Judge, Outcome, UnusableError, Verdict, accept_everybody
from protos.names import InvalidNameError, check_model_name
from protos.nearline.v1 import ledger_pb2, status_pb2
from protos.records import ModelRecord

SCHEMA = 1
MAX_STATEMENT_BYTES = 1 << 20
_OF_A_VERSION = frozenset({"announcement", "retirement", "retrial"})


@dataclass(slots=True)
class World:
    """The folded ledger. `position` is the next offset to fold. `judge`: whose statements count."""

    position: int = 0
    models: dict[str, ModelRecord] = field(default_factory=dict)
    judge: Judge = field(default=accept_everybody, compare=False, repr=False)

    def apply(self, offset: int, key: bytes | None, value: bytes | None) -> Verdict:
        """Fold the record at `offset`; never raises, whatever the bytes are."""
        self.position = max(self.position, offset + 1)
        model, version = "", 0
        try:
            entry, statement = decode_entry(key, value)
            model, version = statement.model, _version(statement)
            self.judge(offset, entry, statement)
            record = self.models.get(model) or ModelRecord()
            match statement.WhichOneof("kind"):
                case "announcement":
                    verdict = judging.announce(record, offset, statement)
                case "rollout":
                    verdict = judging.roll_out(record, statement)
                case "retirement":
                    verdict = judging.retire(record, statement)
                case "retrial":
                    verdict = judging.retry(record, statement)
                case "blocking":
                    verdict = judging.block(record, statement)
                case "bulk_load":
                    verdict = judging.load(record, statement)
                case "bulk_shown":
                    verdict = judging.show(record, statement)
                case _:
                    raise UnusableError(status_pb2.UNDECODABLE, "statement: expected one of the known kinds, got none")
        except UnusableError as error:
            return Verdict(Outcome.UNUSABLE, model, version, error.kind, str(error))
        if verdict.outcome is Outcome.ACCEPTED:
            self.models[model] = record
        return verdict


def encode_statement(statement: ledger_pb2.Statement) -> bytes:
    """Return the record's value for a statement that nobody signs."""
    return ledger_pb2.LedgerEntry(schema=SCHEMA, statement=statement.SerializeToString()).SerializeToString()


def decode_entry(key: bytes | None, value: bytes | None) -> tuple[ledger_pb2.LedgerEntry, ledger_pb2.Statement]:
    """Read a record of the ledger, or raise an error with the kind and the reason that are published."""
    if value is None or len(value) > MAX_STATEMENT_BYTES:
        size = "no value" if value is None else f"{len(value)} bytes"
        raise UnusableError(status_pb2.UNDECODABLE, f"record: expected 1 to {MAX_STATEMENT_BYTES} bytes, got {size}")
    try:
        entry = ledger_pb2.LedgerEntry.FromString(value)
        statement = ledger_pb2.Statement.FromString(entry.statement)
    except (DecodeError, ValueError) as error:
        raise UnusableError(status_pb2.UNDECODABLE, f"record: expected a LedgerEntry, got {error}") from error
    if entry.schema != SCHEMA:
        raise UnusableError(status_pb2.UNDECODABLE, f"schema: expected {SCHEMA}, got {entry.schema}")
    try:
        check_model_name(statement.model)
    except InvalidNameError as error:
        raise UnusableError(status_pb2.UNDECODABLE, str(error)) from error
    if key != statement.model.encode():
        raise UnusableError(status_pb2.POLICY, f"key: expected the model's name {statement.model!r}, got {key!r}")
    return entry, statement


def _version(statement: ledger_pb2.Statement) -> int:
    """The version that a statement is about, where it is about one."""
    kind = statement.WhichOneof("kind")
    return getattr(statement, kind).version if kind in _OF_A_VERSION else 0
