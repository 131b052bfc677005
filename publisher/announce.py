"""Announces a bundle: the first valid announcement of a version wins, and the ledger tells who was first."""

from collections.abc import Sequence
from dataclasses import dataclass

from protos.digest import FileEntry
from protos.ledger import World
from protos.nearline.v1 import ledger_pb2
from protos.records import BundleSignature, ModelRecord
from publisher.ledger import Ledger
from serving.errors import ConflictError


@dataclass(frozen=True, slots=True)
class Announcement:
    """An announcement that won: `offset` in the ledger, `timestamp_ms` by the bus's clock."""

    model: str
    version: int
    digest: str
    uri: str
    offset: int
    timestamp_ms: int


def announce(
    ledger: Ledger,
    model: str,
    digest: str,
    uri: str,
    files: Sequence[FileEntry],
    *,
    version: int | None = None,
    held: bool = False,
    description: str = "",
    signature: BundleSignature | None = None,
) -> Announcement:
    """Announce a version: the newest + 1 unless given. ConflictError when the given one is another bundle already."""

    def make(world: World) -> ledger_pb2.Statement:
        record = world.models.get(model) or ModelRecord()
        number = max(record.versions, default=0) + 1 if version is None else version
        known = record.versions.get(number)
        if known and known.digest != digest:
            raise ConflictError(
                f"version {number} of {model} exists with digest {known.digest[:12]}…, this one has {digest[:12]}…; "
                f"leave --version out to take {max(record.versions) + 1}"
            )
        listed = [ledger_pb2.BundleFile(path=f.path, sha256=f.sha256, size=f.size) for f in files]
        said = ledger_pb2.Announcement(
            version=number, digest=digest, uri=uri, files=listed, held=held, description=description
        )
        if signature is not None:
            said.bundle_signature.CopyFrom(
                ledger_pb2.BundleSignature(uri=signature.uri, sha256=signature.sha256, size=signature.size)
            )
        return ledger_pb2.Statement(model=model, announcement=said)

    said = ledger.say(make)
    announced = said.world.models[model].versions[said.verdict.version]
    return Announcement(model, announced.version, digest, announced.uri, announced.offset, said.appended.timestamp_ms)
