"""Versions with a catalogue in an artifact store."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from protos.digest import FileEntry, bundle_digest
from serving.artifacts.store import FsspecArtifacts, local_path
from serving.bundles.bundle import CATALOGUE
from serving.bundles.catalogue import make_catalogue
from serving.bus.port import Bus
from tests.builders.ledger import announcement


def announce_catalogue(
    topic: tuple[Bus, str], artifacts: FsspecArtifacts, folder: Path, version: int, items: Sequence[str]
) -> Path:
    """Announce a version of `m`, of which the store has the catalogue alone; return where that is."""
    data = make_catalogue(items, []).encode()
    path = folder / f"{version}.msgpack"
    path.write_bytes(data)
    entries = (FileEntry(CATALOGUE, hashlib.sha256(data).hexdigest(), len(data)),)
    uri = artifacts.put(bundle_digest(entries), {CATALOGUE: path})
    bus, name = topic
    bus.append_many(name, [announcement("m", version, entries=entries, uri=uri)])
    return local_path(uri) / CATALOGUE
