"""Takes a snapshot of a node's own store while its workers go on, and stores it where other nodes find it."""

import importlib.metadata
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from serving.errors import ConflictError, NotFoundError, StoreUnavailableError, UserError
from serving.installation import installation_id
from serving.settings import Settings
from serving.snapshots.choose import now_ms
from serving.snapshots.listing import list_snapshots, name_of, remove_old, remove_unfinished, snapshot_folders
from serving.snapshots.logs import read_logs
from serving.snapshots.manifest import MANIFEST_FILE, STORE_FILE, Manifest, sha256_of
from serving.store.connect import is_shared, lmdb_folder
from serving.store.lmdb_copy import FILE, copy_store, cursors_in

Progress = Callable[[str], None]


def take(settings: Settings, progress: Progress = lambda _step: None) -> Manifest:
    """Copy, describe, store; then remove all but the newest `snapshots_kept`. `progress` is told each step.

    NotFoundError without a store that anything was written to, ConflictError while another one is being taken,
    UserError for a shared store; BusUnavailableError, StoreUnavailableError, ArtifactUnavailableError.
    """
    if is_shared(settings.store):
        raise UserError("store: expected `lmdb`, got one that nodes share, which needs no snapshots")
    store = lmdb_folder(settings.data_dir)
    if not (store / FILE).exists():
        raise NotFoundError(f"store: expected one in {store}, found nothing: run a node first")
    folders = snapshot_folders(settings)
    with _workplace(settings.data_dir / "snapshots") as work:
        created_ms = now_ms()
        installation = installation_id(settings.data_dir)
        remove_unfinished(folders, installation, created_ms)
        logs = read_logs(settings)  # before the copy: a topic created again in between makes it one of the old log
        progress("copying the store")
        file = copy_store(store, work, settings.durability)
        cursors = cursors_in(file)
        if not cursors:
            raise NotFoundError(f"store: expected one with events applied, found none in {store}")
        size = file.stat().st_size
        progress(f"hashing {size / 1e6:.1f} MB")
        manifest = Manifest(
            name=name_of(created_ms, settings.node, installation),
            created_ms=created_ms,
            node=settings.node,
            nearline_version=importlib.metadata.version("nearline"),
            events=logs.events,
            commands=logs.commands,
            shards={shard: cursor.positions for shard, cursor in sorted(cursors.items())},
            size=size,
            sha256=sha256_of(file),
        )
        described = work / MANIFEST_FILE
        described.write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
        progress(f"storing {size / 1e6:.1f} MB at {folders.url}")
        folders.put(manifest.name, {STORE_FILE: file, MANIFEST_FILE: described})
        progress("removing older ones")
        remove_old(folders, settings.snapshots_kept)
    return manifest


def taken_within(settings: Settings, seconds: float) -> Manifest | None:
    """Return a snapshot of the present logs, of any node, that is not older."""
    logs, least = read_logs(settings), now_ms() - seconds * 1000
    for manifest in list_snapshots(snapshot_folders(settings)):
        if manifest.created_ms >= least and (manifest.events, manifest.commands) == (logs.events, logs.commands):
            return manifest
    return None


@contextmanager
def _workplace(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that is this process's, and is gone afterwards."""
    work = folder / "taking"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "take.lock", timeout=0):
            shutil.rmtree(work, ignore_errors=True)  # of a process that was killed
            work.mkdir()
            try:
                yield work
            finally:
                shutil.rmtree(work, ignore_errors=True)
    except Timeout:
        raise ConflictError("snapshot: expected none under way on this node; try again when it has ended") from None
    except OSError as error:
        raise StoreUnavailableError(f"{error.filename or folder}: {error.strerror or error}") from error
