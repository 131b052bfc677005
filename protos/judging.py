"""Judging one record of the ledger by what stood before it: the rules of protos/ledger.py, one a statement."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from protos.digest import FileEntry, bundle_digest
from protos.names import InvalidNameError, check_digest, check_version
from protos.nearline.v1 import ledger_pb2, status_pb2
from protos.records import MILLION, Announced, BulkLoad, BundleSignature, Line, ModelRecord, Searchable, Share

MAX_FILES = 1_000
MAX_BLOCKED = 100_000


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


class UnusableError(Exception):
    """The record is not valid, for the reason given."""

    def __init__(self, kind: "status_pb2.ErrorKind.ValueType", message: str) -> None:
        super().__init__(message)
        self.kind = kind


Judge = Callable[[int, ledger_pb2.LedgerEntry, ledger_pb2.Statement], None]
"""Tells whether the record at an offset counts: UnusableError(SIGNATURE) when it does not. Looks at nothing else."""


def accept_everybody(_offset: int, _entry: ledger_pb2.LedgerEntry, _statement: ledger_pb2.Statement) -> None:
    """Accept what nobody signed: the judge of an installation that trusts whoever may write the topic."""


def announce(record: ModelRecord, offset: int, statement: ledger_pb2.Statement) -> Verdict:
    """A version that exists."""
    said = statement.announcement
    files = tuple(FileEntry(file.path, file.sha256, file.size) for file in said.files)
    try:
        check_version(said.version)
        check_digest(said.digest)
        for file in files:
            check_digest(file.sha256)
    except InvalidNameError as error:
        raise UnusableError(status_pb2.UNDECODABLE, str(error)) from error
    if not files or len(files) > MAX_FILES:
        raise UnusableError(status_pb2.POLICY, f"files: expected 1 to {MAX_FILES}, got {len(files)}")
    for file in files:
        parts = file.path.split("/")
        # A line break would let two lists of files have one digest (protos/digest.py).
        if not all(parts) or {".", ".."} & set(parts) or "\\" in file.path or not file.path.isprintable():
            raise UnusableError(status_pb2.POLICY, f"path: expected a plain relative path, got {file.path!r}")
    if len({file.path for file in files}) != len(files):
        raise UnusableError(status_pb2.POLICY, "path: expected each one once, got one twice")
    if bundle_digest(files) != said.digest:
        raise UnusableError(
            status_pb2.DIGEST,
            f"digest: expected {bundle_digest(files)} of the files listed, got {said.digest}",
        )
    known = record.versions.get(said.version)
    if known and known.digest == said.digest:
        return Verdict(Outcome.REPEATED, statement.model, said.version)
    if known:
        raise UnusableError(
            status_pb2.CONFLICT,
            f"version {said.version} was announced at offset {known.offset} with digest {known.digest}, "
            f"and now with {said.digest}",
        )
    record.versions[said.version] = Announced(
        said.version,
        said.digest,
        said.uri,
        files,
        said.held,
        offset,
        statement.created_at_ms,
        _bundle_signature(said),
        _about(said),
    )
    return Verdict(Outcome.ACCEPTED, statement.model, said.version)


def _about(said: ledger_pb2.Announcement) -> Searchable:
    return Searchable(
        said.owner, said.description, tuple(said.tags), tuple(said.features), said.framework, said.stale_after_s
    )


def roll_out(record: ModelRecord, statement: ledger_pb2.Statement) -> Verdict:
    """The whole desired traffic."""
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
                raise UnusableError(status_pb2.POLICY, f"version {share.version} of {statement.model} is retired")
            if share.digest and share.digest != known.digest:
                raise UnusableError(
                    status_pb2.DIGEST, f"version {share.version}: expected {known.digest}, got {share.digest}"
                )
        total = sum(share.weight_ppm for share in line.shares)
        if total != MILLION:
            raise UnusableError(status_pb2.POLICY, f"weights of a line: expected a sum of {MILLION}, got {total}")
    record.epoch, record.lines = said.epoch, lines
    record.named.update(share.version for line in lines for share in line.shares)
    return Verdict(Outcome.ACCEPTED, statement.model)


def retire(record: ModelRecord, statement: ledger_pb2.Statement) -> Verdict:
    """Never serve a version again."""
    version = statement.retirement.version
    _known(record, version)
    if version in record.retired:
        return Verdict(Outcome.REPEATED, statement.model, version)
    record.retired.add(version)
    return Verdict(Outcome.ACCEPTED, statement.model, version)


def retry(record: ModelRecord, statement: ledger_pb2.Statement) -> Verdict:
    """Try a version once more."""
    said = statement.retrial
    _known(record, said.version)
    current = record.retrials.get(said.version, 0)
    if said.epoch <= current:
        message = f"retrial: expected an epoch above {current}, got {said.epoch}"
        return Verdict(Outcome.LOST, statement.model, said.version, status_pb2.CONFLICT, message)
    record.retrials[said.version] = said.epoch
    return Verdict(Outcome.ACCEPTED, statement.model, said.version)


def block(record: ModelRecord, statement: ledger_pb2.Statement) -> Verdict:
    """Hide items, or let them be seen again."""
    epoch, said = statement.blocking.epoch, statement.blocking.items
    if (epoch or record.blocked_epoch) and epoch <= record.blocked_epoch:  # 0 = of a release that had none
        message = f"blocking: expected an epoch above {record.blocked_epoch}, got {epoch}"
        return Verdict(Outcome.LOST, statement.model, 0, status_pb2.CONFLICT, message)
    if not said or len(said) > MAX_BLOCKED:
        raise UnusableError(status_pb2.POLICY, f"items: expected 1 to {MAX_BLOCKED}, got {len(said)}")
    after = dict(record.blocked)
    for entry in said:
        if not entry.item or entry.until_ms < 0:
            raise UnusableError(status_pb2.UNDECODABLE, f"items: expected an item and a time, got {entry!r}")
        if entry.lifted:
            after.pop(entry.item, None)
        else:
            after[entry.item] = entry.until_ms
    if len(after) > MAX_BLOCKED:
        raise UnusableError(status_pb2.POLICY, f"blocked items: expected at most {MAX_BLOCKED}, got {len(after)}")
    if after == record.blocked:
        return Verdict(Outcome.REPEATED, statement.model)
    record.blocked, record.blocked_epoch = after, epoch
    return Verdict(Outcome.ACCEPTED, statement.model)


def load(record: ModelRecord, statement: ledger_pb2.Statement) -> Verdict:
    """Note predictions that were computed elsewhere."""
    said = statement.bulk_load
    version = _known(record, said.version)
    if said.digest != version.digest:
        raise UnusableError(status_pb2.DIGEST, f"version {said.version}: expected {version.digest}, got {said.digest}")
    try:
        check_digest(said.sha256)
    except InvalidNameError as error:
        raise UnusableError(status_pb2.UNDECODABLE, str(error)) from error
    bulk = BulkLoad(said.number, said.version, said.digest, said.uri, said.sha256, said.size, said.rows)
    if record.loads.get(said.number) == bulk:
        return Verdict(Outcome.REPEATED, statement.model)
    newest = max(record.loads, default=0)
    if said.number <= newest:
        message = f"bulk load: expected a number above {newest}, got {said.number}"
        return Verdict(Outcome.LOST, statement.model, 0, status_pb2.CONFLICT, message)
    record.loads[said.number] = bulk
    return Verdict(Outcome.ACCEPTED, statement.model)


def show(record: ModelRecord, statement: ledger_pb2.Statement) -> Verdict:
    """Choose the bulk load that is to be seen."""
    said = statement.bulk_shown
    if said.number and said.number not in record.loads:
        raise UnusableError(status_pb2.POLICY, f"bulk load: expected a known one, got {said.number}")
    if said.epoch == record.shown_epoch and said.number == record.shown and said.epoch:
        return Verdict(Outcome.REPEATED, statement.model)
    if said.epoch <= record.shown_epoch:
        message = f"epoch: expected more than {record.shown_epoch}, got {said.epoch}"
        return Verdict(Outcome.LOST, statement.model, 0, status_pb2.CONFLICT, message)
    record.shown_epoch, record.shown = said.epoch, said.number
    return Verdict(Outcome.ACCEPTED, statement.model)


def _bundle_signature(said: ledger_pb2.Announcement) -> BundleSignature | None:
    if not said.HasField("bundle_signature"):
        return None
    signature = said.bundle_signature
    return BundleSignature(signature.uri, signature.sha256, signature.size)


def _known(record: ModelRecord, version: int) -> Announced:
    known = record.versions.get(version)
    if known is None:
        raise UnusableError(status_pb2.POLICY, f"version: expected an announced one, got {version}")
    return known
