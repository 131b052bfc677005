"""Whether a node may need a snapshot, by a look at its disk: most starts do not, and must not wait for anybody."""

import time

from serving.settings import Settings
from serving.snapshots.listing import snapshot_folders
from serving.store.connect import is_shared, lmdb_folder
from serving.store.lmdb_copy import FILE

_SMALL = 64 << 10
"""Bytes; an empty store takes a few pages."""


def is_called_for(settings: Settings) -> bool:
    """Tell by a look at the disk whether `restore` may have something to do; it opens nothing."""
    if not settings.restore or is_shared(settings.store):
        return False
    folder = lmdb_folder(settings.data_dir)
    try:
        stat = (folder / FILE).stat()
    except FileNotFoundError:
        return not snapshot_folders(settings).surely_empty
    if stood_still(settings):
        return True
    small = stat.st_size <= _SMALL  # perhaps nothing was ever written to it
    return (small or (folder / "boot-id").exists()) and not snapshot_folders(settings).surely_empty


def stood_still(settings: Settings) -> bool:
    """Tell whether nothing has been written for so long that events may have come and gone since."""
    written_s = (lmdb_folder(settings.data_dir) / FILE).stat().st_mtime
    return time.time() - written_s > settings.topics.events.retention_s
