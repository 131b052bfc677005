"""The second half of publishing: a bundle in a folder is stored and announced as it is, untried, or rehearsed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from protos.digest import FileEntry, bundle_digest
from protos.records import BundleSignature
from publisher.announce import Announceable, Announcement, announce, rehearse, searchable
from publisher.build import list_files
from publisher.signing import bundle_keys, open_ledger, sign_bundle, store_signature
from serving.artifacts.store import FsspecArtifacts, root_url
from serving.bundles.bundle import MANIFEST
from serving.bundles.manifest import read_manifest
from serving.bus.port import Bus
from serving.settings import Settings


@dataclass(frozen=True, slots=True)
class Delivery:
    """The bundle in a folder, under a model's name. `version`: None = the newest + 1."""

    name: str
    folder: Path
    settings: Settings
    version: int | None = None
    held: bool = False

    def rehearse(self, bus: Bus) -> Announcement:
        """Return the announcement that `make` would make now; nothing is stored or announced.

        The bundle and the announcement are signed and judged all the same: what `make` refuses is refused.
        """
        if keys := bundle_keys(self.settings):
            sign_bundle(keys, self.folder)
        would = self._announceable(list_files(self.folder), root_url(self.settings.artifacts_url))
        return rehearse(open_ledger(bus, self.settings), would)

    def make(self, bus: Bus) -> Announcement:
        """Store the bundle, and announce it."""
        keys = bundle_keys(self.settings)
        signed = sign_bundle(keys, self.folder) if keys else None  # first: what cannot be signed is not stored
        files = list_files(self.folder)
        digest = bundle_digest(files)
        artifacts = FsspecArtifacts(self.settings.artifacts_url)
        uri = artifacts.put(digest, {file.path: self.folder / file.path for file in files})
        signature = store_signature(artifacts, digest, signed) if signed else None
        return announce(open_ledger(bus, self.settings), self._announceable(files, uri, signature))

    def _announceable(
        self, files: Sequence[FileEntry], uri: str, signature: BundleSignature | None = None
    ) -> Announceable:
        about = searchable(read_manifest((self.folder / MANIFEST).read_bytes()))
        return Announceable(self.name, bundle_digest(files), uri, files, self.version, self.held, about, signature)
