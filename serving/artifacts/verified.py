"""When a bundle on this disk was last hashed: a mark beside it, by which processes that start together hash it once.

The mark holds the boot and the monotonic clock, which all processes of a machine share and nobody can set. Without a
boot id (not Linux) no mark counts, and every process hashes for itself.
"""

import os
import time
from contextlib import suppress
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class VerifiedMarks:
    """Files `<digest>.verified` under `folder`.

    Those from before this object was made, at the process's start, are void: the disk may have changed since.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._boot = _boot_id()
        self._since = time.monotonic()

    def leave(self, digest: str) -> None:
        """Note that every byte was found right, just now. Without room for it others hash again: no reason to fail."""
        with suppress(OSError):
            part = self._folder / f"{digest}.verified.part-{os.getpid()}"
            part.write_text(f"{self._boot} {time.monotonic()!r}")
            part.replace(self._path(digest))

    def stands(self, digest: str) -> bool:
        """Tell whether a process of this node has verified it since this one started."""
        try:
            boot, at = self._path(digest).read_text().split()
            return bool(self._boot) and boot == self._boot and self._since <= float(at) <= time.monotonic()
        except (OSError, ValueError):
            return False

    def drop(self, digest: str) -> None:
        """Forget it."""
        self._path(digest).unlink(missing_ok=True)

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest}.verified"


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
