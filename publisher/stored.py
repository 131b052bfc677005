"""Bundles that were announced, fetched to be looked at: every byte as announced, and weights stay where they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from protos.digest import FileEntry, bundle_digest
from protos.ledger import World
from protos.nearline.v1 import status_pb2
from protos.records import Announced
from publisher.build import list_files
from publisher.ledger import known_model
from serving.artifacts.local import sha256
from serving.artifacts.port import ArtifactStore
from serving.bundles.bundle import WEIGHTS
from serving.errors import InvalidRequestError, ModelError


@dataclass(frozen=True, slots=True)
class Stored:
    """A bundle's folder, without its weights where it was fetched, and all of its files as they were announced."""

    folder: Path
    files: Sequence[FileEntry]

    @property
    def digest(self) -> str:
        """Names the bundle."""
        return bundle_digest(self.files)


def local(folder: Path) -> Stored:
    """A bundle that is a folder of this machine."""
    return Stored(folder, list_files(folder))


def find(world: World, reference: str) -> Announced:
    """Return the version that `NAME` (its newest) or `NAME@VERSION` names; UserError with those there are."""
    model, at, text = reference.partition("@")
    record = known_model(world, model)
    known = ", ".join(map(str, sorted(record.versions)))
    number = max(record.versions) if not at else int(text) if text.isdecimal() else -1
    if number not in record.versions:
        raise InvalidRequestError("version", f"one of {model}'s ({known})", repr(text) if at else "none")
    return record.versions[number]


def fetch(artifacts: ArtifactStore, announced: Announced, folder: Path) -> Stored:
    """Copy the small files of a version into an empty folder. ArtifactUnavailableError, ModelError(DIGEST)."""
    for file in announced.files:
        if file.path == WEIGHTS:
            continue
        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        artifacts.fetch(announced.uri, file.path, target, file.size)
        if (actual := sha256(target)) != file.sha256:
            message = f"{file.path}: expected SHA-256 {file.sha256} as announced, got {actual}"
            raise ModelError(status_pb2.DIGEST, message, rejected=True)
    return Stored(folder, announced.files)
