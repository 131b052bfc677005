"""Whom a node trusts now: the files of trusted keys, read again while it runs."""

from collections.abc import Callable
from pathlib import Path

import structlog

from serving.errors import UserError
from serving.trust.files import read_trust, yaml_files
from serving.trust.trust import Trust

log = structlog.get_logger()

Looks = dict[Path, tuple[int, int, int] | None]
"""What files are like; None = not there."""


class Keyring:
    """One thread looks; any may read `trust`.

    Files that cannot be used are reported, `refused` is called, and the former keys stay. What was changed counts once
    it is the same at two looks in a row: whoever writes a file may be in the middle of it, and half a list of keys
    would be a valid one. Raises InvalidRequestError where the files cannot be used to begin with.
    """

    def __init__(self, path: Path | None, refused: Callable[[], object] = lambda: None) -> None:
        self._path = path
        self._refused = refused
        self._opened: list[Path] = []
        before = self._files()
        self.trust = read_trust(path, self._opened)
        self._last = self._taken = {**self._files(), **before}  # now with those that are named in others

    def look(self) -> Trust | None:
        """Read the files if they have changed; return whom to trust, None = everybody."""
        if self._path is None:
            return None
        now = self._files()
        settled, self._last = now == self._last, now
        if settled and now != self._taken:
            self._read(self._path)
            self._last = self._taken = {**self._files(), **now}
        return self.trust

    def _read(self, path: Path) -> None:
        opened: list[Path] = []
        try:
            self.trust = read_trust(path, opened)
        except UserError as error:
            log.error("trust.refused", error=str(error), action="the former keys stay")
            self._refused()
            self._opened += opened  # one that is missing may come
        else:
            self._opened = opened
            named = sorted(key.name for key in self.trust.keys.values()) if self.trust else []
            log.info("trust.reloaded", keys=named)

    def _files(self) -> Looks:
        if self._path is None:
            return {}
        return {path: _look(path) for path in (*yaml_files(self._path), *self._opened)}


def _look(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
