"""The bundles that a node has on its disk, downloaded once for all of its processes.

`<folder>/<digest>/` appears by one rename after every file's size and SHA-256 were found right and synced. Disks rot:
what was there before this process started is hashed again before it is used, by the first process that wants it.
"""

import errno
import shutil
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import structlog

from protos.digest import FileEntry
from protos.names import InvalidNameError, check_digest
from protos.nearline.v1 import status_pb2
from serving.artifacts.alone import alone
from serving.artifacts.holds import Hold, hold_path
from serving.artifacts.local import discard, sha256, sound, sync
from serving.artifacts.paths import check_path
from serving.artifacts.port import ArtifactStore
from serving.artifacts.reclaim import reclaim
from serving.artifacts.verified import VerifiedMarks
from serving.errors import ArtifactUnavailableError, InvalidRequestError, ModelError

log = structlog.get_logger()

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}


class BundleCache:
    """Shared by processes through the file system: a lock per digest, renames for everything else."""

    def __init__(self, folder: Path, artifacts: ArtifactStore, max_bytes: int, budget_bytes: int = 32 << 30) -> None:
        self._folder = folder
        self._artifacts = artifacts
        self._max_bytes = max_bytes
        self._budget_bytes = budget_bytes
        self._verified = VerifiedMarks(folder)

    def hold(self, digest: str, model: str) -> Hold:
        """Say that this process is going to use a bundle of a model; do so before `ensure`. ModelError: FETCH, DISK."""
        _check_names(digest, [])
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            return Hold(hold_path(self._folder, digest), model)
        except OSError as error:
            raise self._unusable(error) from error

    def ensure(self, digest: str, uri: str, files: Sequence[FileEntry], *, verifying: Callable[[], None]) -> Path:
        """Return the bundle's local folder, every byte of it verified; download it if need be, or if it is damaged.

        `verifying` is called when all bytes are there and are about to be hashed. ModelError: FETCH and DISK may be
        tried again; DIGEST (whole, but other bytes) and POLICY (outside the roots, too large) are rejected.
        """
        _check_names(digest, files)
        size = sum(file.size for file in files)
        if size > self._max_bytes:
            message = f"bundle: expected at most {self._max_bytes} bytes, got {size}"
            raise ModelError(status_pb2.POLICY, message, rejected=True)
        final = self._folder / digest
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with alone(self._folder / f"{digest}.lock"):
                if final.exists():
                    verifying()
                    if self._verified.stands(digest):
                        return final
                    if sound(final, files):
                        self._verified.leave(digest)
                        return final
                    log.error("bundle.damaged", digest=digest, folder=str(final), action="downloading it again")
                    discard(final)
                self._download(final, uri, files, verifying)
                self._verified.leave(digest)
        except OSError as error:
            raise self._unusable(error) from error
        self._reclaim()
        return final

    def signature_path(self, digest: str, sha256: str) -> Path:
        """Where a copy of a signature of the bundle is kept, for as long as the bundle is; ModelError.

        Several keys may have signed one bundle, so that each signature has a name of its own: that of its content.
        """
        _check_names(sha256, [])
        return self._folder / f"{digest}.signature-{sha256}"

    def remove(self, digest: str) -> None:
        """Drop a local copy; what is mapped by a running model stays readable to it."""
        _check_names(digest, [])
        self._verified.drop(digest)
        for signature in self._folder.glob(f"{digest}.signature*"):
            signature.unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            discard(self._folder / digest)

    def _reclaim(self) -> None:
        """More is on the disk than before: make room. A failure to do so is no reason not to load."""
        try:
            reclaim(self._folder, self._budget_bytes, self.remove)
        except OSError as error:
            log.error("bundles.unreclaimed", error=str(error))

    def _unusable(self, error: OSError) -> ModelError:
        kind = status_pb2.DISK if error.errno in _NO_ROOM else status_pb2.FETCH
        return ModelError(kind, f"{error.filename or self._folder}: {error.strerror}")

    def _download(self, final: Path, uri: str, files: Sequence[FileEntry], verifying: Callable[[], None]) -> None:
        for left in self._folder.glob(f"{final.name}.part-*"):  # of a process that was killed: we hold the lock
            shutil.rmtree(left, ignore_errors=True)
        part = self._folder / f"{final.name}.part-{uuid.uuid4().hex}"
        part.mkdir()
        try:
            # A file is synced, which is waiting, while others are copied and hashed, which is work.
            with ThreadPoolExecutor(1, "sync") as beside:
                synced = [beside.submit(sync, self._fetch(uri, file, part)) for file in files]
                verifying()
                for file in files:
                    _compare(part, file)
                for one in synced:
                    one.result()
            for folder in {folder for file in files for folder in (part / file.path).parents}:
                if folder.is_relative_to(part):
                    sync(folder)
            part.rename(final)
            sync(self._folder)
        except ArtifactUnavailableError as error:
            raise ModelError(status_pb2.FETCH, str(error)) from error
        except InvalidRequestError as error:
            raise ModelError(status_pb2.POLICY, str(error), rejected=True) from error
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _fetch(self, uri: str, file: FileEntry, part: Path) -> Path:
        target = part / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        self._artifacts.fetch(uri, file.path, target, file.size)
        return target


def _compare(folder: Path, file: FileEntry) -> None:
    if (actual := sha256(folder / file.path)) != file.sha256:
        message = f"{file.path}: expected SHA-256 {file.sha256} as announced, got {actual}"
        raise ModelError(status_pb2.DIGEST, message, rejected=True)


def _check_names(digest: str, files: Sequence[FileEntry]) -> None:
    try:
        check_digest(digest)
        for file in files:
            check_path(file.path)
    except (InvalidNameError, InvalidRequestError) as error:
        raise ModelError(status_pb2.POLICY, str(error), rejected=True) from error
