"""The artifact store: immutable folders of files, named by content, that any node can fetch from.

Promised: a folder that `put` returned is complete, for a reader that comes at any time; putting the same content
again changes nothing. A folder appears under its final name only when every byte is there.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol


class ArtifactStore(Protocol):
    """Over any fsspec URL."""

    def put(self, digest: str, files: Mapping[str, Path]) -> str:
        """Store local files under their relative names; return the folder's URL.

        ArtifactUnavailableError when the store is unreachable or full, InvalidRequestError when a name leads out.
        """
        ...

    def fetch(self, uri: str, path: str, target: Path, size: int) -> None:
        """Copy one file to `target`, at most `size` bytes of it. It is not synced: that is up to who keeps it.

        ArtifactUnavailableError when it is missing, unreachable or shorter; InvalidRequestError when `uri` or
        `path` leads out of the roots that this store may read; OSError when `target` cannot be written.
        """
        ...
