"""A worker's folded ledger on its disk: a fast start, and a start while the bus is away.

It holds the accepted entries themselves, so that reading it is the same fold as reading the topic. They were judged
under the keys that were trusted then: under other ones they are judged again, and the topic has to be read again
(renewal.py), since what had lost against a refused record may win now.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import structlog
from google.protobuf.message import DecodeError

from protos.judging import Outcome, Verdict, accept_everybody
from protos.ledger import World
from protos.nearline.v1 import ledger_pb2, status_pb2
from serving.trust.trust import Trust

log = structlog.get_logger()

_SUM_BYTES = 32


class CheckpointFile:
    """A Checkpoint message behind its SHA-256, replaced atomically. A damaged file counts as none.

    `trust`: whose statements count; None = everybody's.
    """

    def __init__(self, path: Path, trust: Trust | None = None) -> None:
        self._path = path
        self._trust = trust
        self._digest = trust.digest if trust else ""
        self._checkpoint = ledger_pb2.Checkpoint(trust=self._digest)

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
        if checkpoint.trust != self._digest:
            self._checkpoint = checkpoint
            return self._fold_again(checkpoint.accepted)[0]
        for accepted in checkpoint.accepted:
            if _apply(world, accepted).outcome is not Outcome.ACCEPTED:
                log.warning("checkpoint.unusable", path=str(self._path), offset=accepted.offset)
                return World()
        world.position = checkpoint.position
        self._checkpoint = checkpoint
        return world

    def trusting(self, trust: Trust | None) -> World:
        """Judge by other keys from now on; return what is known that still counts, until the topic is read again."""
        self._trust = trust
        self._digest = trust.digest if trust else ""
        return self._fold_again(self._checkpoint.accepted)[0]

    @property
    def outdated(self) -> bool:
        """Whether it was written under other trusted keys than those of now."""
        return self._checkpoint.trust != self._digest

    def moved(self) -> None:
        """Note that the topic was created anew: what was accepted so far is from another one."""
        for accepted in self._checkpoint.accepted:
            accepted.log = accepted.log or self._checkpoint.log

    def renewed(self, identity: str) -> tuple["CheckpointFile", World]:
        """Return what a fold of the topic from its start begins with: what other topics said, judged again."""
        file = CheckpointFile(self._path, self._trust)
        elsewhere = [accepted for accepted in self._checkpoint.accepted if accepted.log not in {"", identity}]
        world, kept = self._fold_again(elsewhere)
        file._checkpoint.accepted.extend(kept)
        return file, world

    def _fold_again(self, entries: Iterable[ledger_pb2.AcceptedEntry]) -> tuple[World, list[ledger_pb2.AcceptedEntry]]:
        """Fold what still counts, and return it; what does not has never been said."""
        world, kept, refused = World(), [], Counter[str]()
        for accepted in entries:
            if self._trust is not None:
                world.judge = self._trust.judge(accepted.log or self._checkpoint.log)
            verdict = _apply(world, accepted)
            if verdict.outcome is Outcome.ACCEPTED:
                kept.append(accepted)
            elif verdict.kind == status_pb2.SIGNATURE:
                refused[verdict.model] += 1
        if refused:
            log.error(
                "checkpoint.refused",
                entries=dict(refused),
                reason="they were accepted under other trusted keys",
                action="taking them for unsaid",
            )
        world.position, world.judge = 0, accept_everybody
        return world, kept

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


def _apply(world: World, accepted: ledger_pb2.AcceptedEntry) -> Verdict:
    entry = ledger_pb2.LedgerEntry.FromString(accepted.entry)
    key = ledger_pb2.Statement.FromString(entry.statement).model.encode()
    return world.apply(accepted.offset, key, accepted.entry)
