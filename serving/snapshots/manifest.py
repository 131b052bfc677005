"""What a snapshot says of itself: whose it is, what it belongs to, how far it is, and what its file has to be."""

import hashlib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from serving.store.port import Cursor

STORE_FILE = "store.mdb"
MANIFEST_FILE = "manifest.json"
MANIFEST_BYTES = 4 << 20
"""4,096 shards take 0.6 MB."""

Offset = Annotated[int, Field(ge=0)]


class Log(BaseModel):
    """A topic as it was: its incarnation (Bus.identity), empty when there was none, and how many partitions it has."""

    model_config = ConfigDict(frozen=True)

    topic: str
    identity: str
    partitions: int


class Manifest(BaseModel):
    """`format` changes when an older release could not read it. `shards`: next offset by log, of each shard."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    name: str
    created_ms: int
    node: str
    nearline_version: str
    events: Log
    commands: Log
    shards: dict[int, tuple[tuple[str, Offset], ...]]
    size: int = Field(ge=0)
    sha256: str

    @property
    def cursors(self) -> dict[int, Cursor]:
        """Where each shard stands."""
        return {shard: Cursor(positions) for shard, positions in self.shards.items()}

    def positions(self, log: Log) -> dict[int, int]:
        """The next offset in a log, of each shard that ever applied anything of it."""
        found = {shard: cursor.offset(log.identity) for shard, cursor in self.cursors.items()}
        return {shard: offset for shard, offset in found.items() if offset is not None}


def sha256_of(path: Path) -> str:
    """Hash a file, a piece at a time."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
