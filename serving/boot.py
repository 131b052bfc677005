"""Whether a file that was written without syncing can be believed: not after the machine stopped.

While anybody has an unsynced environment open, a mark beside it names the boot it was opened in. The last process
that closes it syncs and takes the mark away. So a mark of another boot means that pages may be missing or torn. A
killed process is no matter: what it wrote is the kernel's. Everything here is to be called while nobody else opens or
closes.
"""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import structlog

from serving.errors import UserError

log = structlog.get_logger()

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def _boot_id() -> str:
    """Name this start of the machine."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError as error:
        raise UserError(f"durability: `process` needs {_BOOT_ID}, which this system does not have") from error


class BootMark:
    """One process's part in the mark of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mark = folder / "boot-id"
        self._users = os.open(folder / "users.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(self._users, fcntl.LOCK_SH)

    def enter(self, file: str, boot: str | None, *, unsynced: bool) -> None:
        """Move the file aside if it is not to be believed; mark it when it is opened unsynced in this boot."""
        if not unsynced and not self._mark.exists():
            return
        boot = boot or _boot_id()
        if self._mark.exists():
            marked = self._mark.read_text(encoding="utf-8")
            if marked != boot:
                self._distrust(file, marked, boot)
        if unsynced and not self._mark.exists():
            with self._mark.open("x", encoding="utf-8") as mark:
                mark.write(boot)
                mark.flush()
                os.fsync(mark.fileno())
            sync_folder(self._folder)

    def leave(self, sync: Callable[[], None]) -> None:
        """Sync and take the mark away, when nobody else uses the environment."""
        try:
            fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._mark.exists():
                sync()
                self._mark.unlink()
                sync_folder(self._folder)
        except BlockingIOError:
            pass
        finally:
            self.abandon()

    def alone(self) -> bool:
        """Tell whether no other process has the environment open."""
        try:
            fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        fcntl.flock(self._users, fcntl.LOCK_SH)
        return True

    def abandon(self) -> None:
        """Stop counting as a user; the mark stays."""
        os.close(self._users)

    def _distrust(self, file: str, marked: str, now: str) -> None:
        """Keep the file for whoever wants to look; only the last such one, since they are large."""
        path = self._folder / file
        if path.exists():
            aside = path.with_name(f"{file}.distrusted")
            path.replace(aside)
            log.error(
                "environment.distrusted", path=str(path), written_in=marked, now=now, moved_to=str(aside),
                action="starting empty: the machine stopped before what was written unsynced was safe",
            )  # fmt: skip
        self._mark.unlink()
        sync_folder(self._folder)


def sync_folder(path: Path) -> None:
    """Make what was renamed into a folder, or taken out of it, survive a loss of power."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
