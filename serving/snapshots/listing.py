"""The snapshots in the artifact store: `<artifacts>/snapshots/<topic prefix>/<ms>-<node>-<installation>/`.

One is listed when its manifest, which is stored last, can be read.
"""

import re

import structlog
from pydantic import ValidationError

from serving.artifacts.named import NamedFolders
from serving.errors import ArtifactUnavailableError
from serving.settings import Settings
from serving.snapshots.manifest import MANIFEST_BYTES, MANIFEST_FILE, Manifest

log = structlog.get_logger()

_ABANDONED_MS = 24 * 3_600_000
_OTHER = re.compile(r"[^A-Za-z0-9.-]")
_NAME = re.compile(r"(\d{13})-.+-([0-9a-f]{8})(?:\.part-[0-9a-f]+)?")
_SHOWN = 8


def snapshot_folders(settings: Settings) -> NamedFolders:
    """Return where the snapshots of this installation are."""
    prefix = _OTHER.sub(lambda found: f"_{ord(found[0]):x}_", settings.topic_prefix)
    return NamedFolders(settings.artifacts_url, f"snapshots/{prefix if prefix.strip('.') else f'_{prefix}'}")


def name_of(created_ms: int, node: str, installation: str) -> str:
    """Name a snapshot; names sort by time."""
    return f"{created_ms:013d}-{node}-{installation[:_SHOWN]}"


def list_snapshots(folders: NamedFolders) -> list[Manifest]:
    """Return what is whole, newest first; ArtifactUnavailableError."""
    found = (_manifest(folders, name) for name in reversed(folders.names()))
    return [manifest for manifest in found if manifest is not None]


def remove_old(folders: NamedFolders, kept: int) -> list[str]:
    """Remove all but the newest; return their names. One that cannot be removed is logged, and tried next time."""
    old = [manifest.name for manifest in list_snapshots(folders)[kept:]]
    return [name for name in old if _remove(folders, name)]


def remove_unfinished(folders: NamedFolders, installation: str, at_ms: int) -> None:
    """Remove what killed processes left: this installation's, which takes one at a time; anybody's after a day."""
    for name in folders.names():
        parts = _NAME.fullmatch(name)
        if parts is None or (folders.read(name, MANIFEST_FILE, 1) is not None and ".part-" not in name):
            continue
        if parts[2] == installation[:_SHOWN] or at_ms - int(parts[1]) > _ABANDONED_MS:
            _remove(folders, name)


def _remove(folders: NamedFolders, name: str) -> bool:
    try:
        folders.remove(name, MANIFEST_FILE)
    except ArtifactUnavailableError as error:
        log.warning("snapshot.unremoved", snapshot=name, error=str(error))
        return False
    return True


def _manifest(folders: NamedFolders, name: str) -> Manifest | None:
    if _NAME.fullmatch(name) is None or ".part-" in name:
        return None
    data = folders.read(name, MANIFEST_FILE, MANIFEST_BYTES)
    if data is None:
        return None
    try:
        manifest = Manifest.model_validate_json(data)
        if manifest.name != name:
            raise ValueError(f"name: expected {name}, got {manifest.name}")
    except ValueError as error:  # pydantic's, too
        said = error.errors(include_url=False)[0]["msg"] if isinstance(error, ValidationError) else error
        log.error("snapshot.unreadable", snapshot=name, error=f"{MANIFEST_FILE}: {said}", action="not using it")
        return None
    return manifest
