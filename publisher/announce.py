"""Announces a bundle: the first valid announcement of a version wins, and the ledger tells who was first."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from protos.digest import FileEntry
from protos.judging import Outcome
from protos.ledger import World
from protos.nearline.v1 import ledger_pb2
from protos.records import BundleSignature, ModelRecord, Searchable
from publisher.ledger import Ledger
from serving.bundles.manifest import Manifest
from serving.errors import ConflictError


@dataclass(frozen=True, slots=True)
class Announcement:
    """An announcement that won: `offset` in the ledger, `timestamp_ms` by the bus's clock.

    `again`: the same had been announced before, at `offset`; saying it once more, at `timestamp_ms`, changed nothing.
    Of a dry run: the one that would be, at the offset -1.
    """

    model: str
    version: int
    digest: str
    uri: str
    offset: int
    timestamp_ms: int
    again: bool = False


@dataclass(frozen=True, slots=True)
class Announceable:
    """A bundle, and what is to be said of it. `version`: None = the newest + 1. `signature`: of the bundle."""

    model: str
    digest: str
    uri: str
    files: Sequence[FileEntry]
    version: int | None = None
    held: bool = False
    about: Searchable = field(default_factory=Searchable)
    signature: BundleSignature | None = None

    def statement(self, world: World) -> ledger_pb2.Statement:
        """Say it to the world as it is; ConflictError as `announce`."""
        said = ledger_pb2.Announcement(
            version=free_version(world, self.model, self.digest, self.version, held=self.held),
            digest=self.digest,
            uri=self.uri,
            files=[ledger_pb2.BundleFile(path=f.path, sha256=f.sha256, size=f.size) for f in self.files],
            held=self.held,
            description=self.about.description,
            owner=self.about.owner,
            tags=self.about.tags,
            features=self.about.features,
            framework=self.about.framework,
            stale_after_s=self.about.stale_after_s,
        )
        if self.signature is not None:
            said.bundle_signature.CopyFrom(
                ledger_pb2.BundleSignature(
                    uri=self.signature.uri, sha256=self.signature.sha256, size=self.signature.size
                )
            )
        return ledger_pb2.Statement(model=self.model, announcement=said)


def announce(ledger: Ledger, what: Announceable) -> Announcement:
    """Announce a version: the newest + 1 unless given.

    ConflictError when the given one is another bundle already, or the same one, but held where this is not, or not held
    where this is: what was announced never changes.
    """
    said = ledger.say(what.statement)
    # Who was first may hold it.
    number = free_version(said.world, what.model, what.digest, said.verdict.version, held=what.held)
    announced = said.world.models[what.model].versions[number]
    return Announcement(
        what.model,
        number,
        what.digest,
        announced.uri,
        announced.offset,
        said.appended.timestamp_ms,
        said.verdict.outcome is Outcome.REPEATED,
    )


def rehearse(ledger: Ledger, would: Announceable) -> Announcement:
    """Return the announcement that would be made now; whatever announcing would refuse is refused."""
    said = ledger.rehearse(would.statement).announcement
    return Announcement(would.model, said.version, would.digest, "", -1, 0)


def free_version(world: World, model: str, digest: str, version: int | None, *, held: bool) -> int:
    """Return the version that a bundle takes: the newest + 1 unless given. ConflictError as `announce`."""
    record = world.models.get(model) or ModelRecord()
    number = max(record.versions, default=0) + 1 if version is None else version
    known = record.versions.get(number)
    if known and known.digest != digest:
        raise ConflictError(
            f"version {number} of {model} exists with digest {known.digest[:12]}…, this one has {digest[:12]}…; "
            f"leave --version out to take {max(record.versions) + 1}"
        )
    if known and known.held and not held:
        raise ConflictError(
            f"version {number} of {model} was announced with --hold, and stays so whatever is published; "
            f"`nearline rollout {model} --version {number}` gives it traffic"
        )
    if known and held and not known.held:
        raise ConflictError(
            f"version {number} of {model} was announced without --hold, so it may serve already, and stays so; "
            f"leave --version out to take {max(record.versions) + 1}"
        )
    return number


def searchable(manifest: Manifest) -> Searchable:
    """Return what the announcement says of a manifest, so that models are found without fetching their bundles."""
    features = {tensor.name for tensor in manifest.inputs}
    for feature in manifest.recipe.values():
        features |= {field for field in (getattr(feature, "field", None),) if field}
    return Searchable(
        manifest.owner,
        manifest.description,
        manifest.tags,
        tuple(sorted(features)),
        manifest.lineage.framework,
        manifest.stale_after or 0,
    )
