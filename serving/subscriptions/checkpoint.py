"""A worker's folded ledger on its disk: a fast start, and a start while the bus is away.

It holds the accepted entries themselves, so that reading it is the same fold as reading the topic.
"""

import hashlib
import os
from pathlib import Path

import structlog
from google.protobuf.message import DecodeError

from protos.judging import Outcome
from protos.ledger import World
from protos.nearline.v1 import ledger_pb2

log = structlog.get_logger()

_SUM_BYTES = 32


class CheckpointFile:
    """A Checkpoint message behind its SHA-256, replaced atomically. A damaged file counts as none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._checkpoint = ledger_pb2.Checkpoint()

    @property
    def log(self) -> str:
        """Identity of the topic that was folded; empty when there is no checkpoint."""
        return self._checkpoint.log

    def load(self) -> World:
        """Fold what is on disk; an empty world when there is nothing usable."""
        world = World()
        try:
            data = self._path.read_bytes()
            if hashlib.sha256(data[_SUM_BYTES:]).digest() != data[:_SUM_BYTES]:
                raise ValueError("checksum does not match")
            checkpoint = ledger_pb2.Checkpoint.FromString(data[_SUM_BYTES:])
        except FileNotFoundError:
            return world
        except (OSError, ValueError, DecodeError) as error:
            log.warning("checkpoint.unusable", path=str(self._path), error=str(error))
            return world
        for accepted in checkpoint.accepted:
            entry = ledger_pb2.LedgerEntry.FromString(accepted.entry)
            key = ledger_pb2.Statement.FromString(entry.statement).model.encode()
            if world.apply(accepted.offset, key, accepted.entry).outcome is not Outcome.ACCEPTED:
                log.warning("checkpoint.unusable", path=str(self._path), offset=accepted.offset)
                return World()
        world.position = checkpoint.position
        self._checkpoint = checkpoint
        return world

    @property
    def event_partitions(self) -> int:
        """Partitions of the events topic when the bus was last seen; 0 when it never was."""
        return self._checkpoint.event_partitions

    def accept(self, offset: int, value: bytes) -> None:
        """Note an accepted entry; `save` makes it durable."""
        self._checkpoint.accepted.add(offset=offset, entry=value)

    def save(self, identity: str, position: int, event_partitions: int) -> None:
        """Write to disk what was noted so far. Without room the old file stays: following matters more."""
        self._checkpoint.log, self._checkpoint.position = identity, position
        self._checkpoint.event_partitions = event_partitions
        data = self._checkpoint.SerializeToString()
        part = self._path.with_name(f"{self._path.name}.part")  # a worker's name may hold a dot
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                file.write(hashlib.sha256(data).digest() + data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._path)
        except OSError as error:
            log.error("checkpoint.unwritable", path=str(self._path), error=str(error))
