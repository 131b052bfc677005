"""Gives a node that has no store the newest snapshot that fits, so that it need not replay what is long gone.

What is damaged, unreachable or of other logs is passed over, each with a line in the log, for the one before.
"""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import structlog

from serving.artifacts.named import NamedFolders
from serving.errors import ArtifactUnavailableError, StoreUnavailableError, UnavailableError
from serving.settings import Settings
from serving.snapshots.choose import may_lack_events, now_ms, reason_against
from serving.snapshots.listing import list_snapshots, snapshot_folders
from serving.snapshots.logs import read_logs
from serving.snapshots.manifest import STORE_FILE, Manifest, sha256_of
from serving.store.connect import is_shared, lmdb_folder
from serving.store.lmdb_copy import FILE, cursors_in, is_vacant, put_in_place

log = structlog.get_logger()

_SMALL = 1 << 20


@dataclass(frozen=True, slots=True)
class Restored:
    """`passed_over`: how many newer ones could not be used."""

    manifest: Manifest
    passed_over: int
    seconds: float


def is_called_for(settings: Settings) -> bool:
    """Tell by a look at the disk whether `restore` may have something to do; it opens nothing."""
    if not settings.restore or is_shared(settings.store) or snapshot_folders(settings).surely_empty:
        return False
    folder = lmdb_folder(settings.data_dir)
    try:
        small = (folder / FILE).stat().st_size <= _SMALL  # perhaps nothing was ever written to it
    except FileNotFoundError:
        return True
    return small or (folder / "boot-id").exists()


def restore(settings: Settings, boot: str | None = None) -> Restored | None:
    """Restore if there is no store (boot.py: or none to be believed); None when nothing was done.

    Raises UnavailableError when trying again may help. `boot`: this start of the machine, for tests.
    """
    began = time.monotonic()
    store = lmdb_folder(settings.data_dir)
    if is_shared(settings.store) or not is_vacant(store, boot):
        return None
    folders = snapshot_folders(settings)
    found = list_snapshots(folders)
    if not found:
        return None
    logs, at_ms, topics = read_logs(settings), now_ms(), settings.topics
    away: UnavailableError | None = None
    work = settings.data_dir / "snapshots" / "restoring"
    for passed_over, manifest in enumerate(found):
        reason = reason_against(manifest, logs, topics, at_ms)
        if not reason:
            try:
                reason = _fetch(folders, manifest, work)
                if not reason:
                    if not put_in_place(work / STORE_FILE, store, boot):
                        return None
                    _tell(manifest, lacking=may_lack_events(manifest, topics, at_ms))
                    return Restored(manifest, passed_over, time.monotonic() - began)
            except ArtifactUnavailableError as error:
                away, reason = error, str(error)
            except OSError as error:
                raise StoreUnavailableError(f"{error.filename or work}: {error.strerror or error}") from error
            finally:
                shutil.rmtree(work, ignore_errors=True)
        log.error("snapshot.unusable", snapshot=manifest.name, reason=reason, action="looking at the one before")
    if away is not None:
        raise away
    return None


def _fetch(folders: NamedFolders, manifest: Manifest, work: Path) -> str:
    """Download into the folder; return what is wrong with what came, or nothing."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    file = work / STORE_FILE
    folders.fetch(manifest.name, STORE_FILE, file, manifest.size)
    if (actual := sha256_of(file)) != manifest.sha256:
        return f"{STORE_FILE}: expected SHA-256 {manifest.sha256}, got {actual}"
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
