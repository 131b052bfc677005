"""What the catalogues of announced versions hold, read from the artifact store, so that mistyped items are noticed."""

import hashlib
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from protos.records import Announced, ModelRecord
from serving.artifacts.port import ArtifactStore
from serving.bundles.bundle import CATALOGUE
from serving.bundles.catalogue import Catalogue, read_catalogue
from serving.errors import ArtifactUnavailableError

_NEWEST = 10
"""So many versions are asked about an item: what only older ones had is hardly shown any more."""


def catalogue_of(artifacts: ArtifactStore, announced: Announced) -> Catalogue | None:
    """Read a version's catalogue, as it was announced; None when it recommends nothing.

    ArtifactUnavailableError, InvalidRequestError (a place that may not be read), ModelError (a catalogue that is none).
    """
    listed = next((file for file in announced.files if file.path == CATALOGUE), None)
    if listed is None:
        return None
    with tempfile.TemporaryDirectory(prefix="nearline-catalogue-") as folder:
        target = Path(folder) / CATALOGUE
        artifacts.fetch(announced.uri, CATALOGUE, target, listed.size)
        data = target.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != listed.sha256:
        raise ArtifactUnavailableError(f"{CATALOGUE}: expected SHA-256 {listed.sha256} as announced, got {sha256}")
    return read_catalogue(data)


def unknown_items(artifacts: ArtifactStore, record: ModelRecord, items: Iterable[str]) -> Sequence[str]:
    """Return the items that no catalogue of the newest versions has, retired ones left out. Errors as above."""
    left = dict.fromkeys(items)
    read = False
    for version in sorted(record.versions.keys() - record.retired, reverse=True)[:_NEWEST]:
        catalogue = catalogue_of(artifacts, record.versions[version]) if left else None
        if catalogue is not None:
            read = True
            left = {item: None for item in left if item not in catalogue.rows}
    return list(left) if read else []
