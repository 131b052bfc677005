"""Gives a node that has no store the newest snapshot that fits, so that it need not replay what is long gone.

What is damaged, unreachable or of other logs is passed over, each with a line in the log, for the one before.
"""

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from serving.artifacts.local import sync
from serving.artifacts.named import NamedFolders
from serving.errors import ArtifactUnavailableError, StoreUnavailableError, UnavailableError
from serving.settings import Settings
from serving.snapshots.behind import missed
from serving.snapshots.choose import may_lack_events, now_ms, reason_against
from serving.snapshots.listing import list_snapshots, snapshot_folders
from serving.snapshots.logs import Logs, read_logs
from serving.snapshots.manifest import STORE_FILE, Manifest, sha256_of
from serving.snapshots.need import stood_still
from serving.store.connect import is_shared, lmdb_folder
from serving.store.lmdb_copy import cursors_in, put_in_place, standing_in
from serving.store.port import Cursor

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Restored:
    """`passed_over`: how many newer ones could not be used."""

    manifest: Manifest
    passed_over: int
    seconds: float


def restore(settings: Settings, boot: str | None = None) -> Restored | None:
    """Restore if there is no store (boot.py: or none to be believed), or one that missed what the bus has dropped.

    None when nothing was done. Raises UnavailableError when trying again may help. `boot`: this start of the machine,
    for tests.
    """
    began = time.monotonic()
    store = lmdb_folder(settings.data_dir)
    if is_shared(settings.store):
        return None
    standing = standing_in(store, boot)
    if standing and not stood_still(settings):
        return None
    folders = snapshot_folders(settings)
    found = list_snapshots(folders)
    if not found and not standing:
        return None
    logs = read_logs(settings)
    if standing:
        lacking = missed(settings, logs, standing)
        if not lacking:
            return None
        log.error("store.behind", missed=lacking, action="looking for a snapshot that has what the bus has dropped")
    return _first_that_fits(settings, found, logs, _Place(folders, standing, boot), began)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where from, and what is there now."""

    folders: NamedFolders
    standing: dict[int, Cursor]
    boot: str | None


def _first_that_fits(
    settings: Settings, found: Sequence[Manifest], logs: Logs, place: _Place, began: float
) -> Restored | None:
    at_ms = now_ms()
    away: UnavailableError | None = None
    for passed_over, manifest in enumerate(found):
        reason = reason_against(manifest, logs, settings.topics, at_ms) or _behind(manifest, place.standing)
        if not reason:
            try:
                reason = _replace(settings, manifest, place)
            except ArtifactUnavailableError as error:
                away, reason = error, str(error)
        if not reason:
            _tell(manifest, lacking=may_lack_events(manifest, settings.topics, at_ms))
            return Restored(manifest, passed_over, time.monotonic() - began)
        log.error("snapshot.unusable", snapshot=manifest.name, reason=reason, action="looking at the one before")
    if away is not None:
        raise away
    return None


def _behind(manifest: Manifest, standing: Mapping[int, Cursor]) -> str:
    """Say what a store that is there has, and the snapshot has not."""
    there = manifest.cursors
    for shard, cursor in standing.items():
        for topic, offset in cursor.positions:
            other = there[shard].offset(topic) if shard in there else None
            if topic in {manifest.events.identity, manifest.commands.identity} and (other or 0) < offset:
                return f"shard {shard} of the store is further: at {offset}, not at {other}"
    return ""


def _replace(settings: Settings, manifest: Manifest, place: _Place) -> str:
    """Download, check, and put in place; return what went wrong, or nothing."""
    work = settings.data_dir / "snapshots" / "restoring"
    try:
        if reason := _fetch(place.folders, manifest, work):
            return reason
        if not put_in_place(work / STORE_FILE, lmdb_folder(settings.data_dir), place.standing, place.boot):
            raise StoreUnavailableError("store: expected nobody to write to it while it is restored")
        return ""
    except OSError as error:
        raise StoreUnavailableError(f"{error.filename or work}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _fetch(folders: NamedFolders, manifest: Manifest, work: Path) -> str:
    """Download into the folder; return what is wrong with what came, or nothing."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    file = work / STORE_FILE
    folders.fetch(manifest.name, STORE_FILE, file, manifest.size)
    if (actual := sha256_of(file)) != manifest.sha256:
        return f"{STORE_FILE}: expected SHA-256 {manifest.sha256}, got {actual}"
    sync(file)
    try:
        cursors = cursors_in(file)
    except StoreUnavailableError as error:
        return str(error)
    return "" if cursors == manifest.cursors else f"{STORE_FILE}: expected the positions of the manifest, got {cursors}"


def _tell(manifest: Manifest, *, lacking: bool) -> None:
    if lacking:
        log.warning(
            "snapshot.old", snapshot=manifest.name, created_ms=manifest.created_ms,
            action="using it, though events since then may be gone: states of those who did something may lack them",
        )  # fmt: skip
