"""The writer's side of the store over Redis or Valkey, which many nodes share.

A reply can be lost: the script ran, and the connection died before the answer. `write` is then sent once more by the
library, or raises StoreUnavailableError and the caller starts again. Either way the script finds the cursor
moved on by the very same write, and raises PositionConflictError. The caller does what it does after each of both:
it reads the cursor, and goes on there, right behind its own write. Nothing is applied twice.

A server that forgot (failed over, restarted empty) forgot the cursor together with the effects: the same rule
computes both again.
"""

import hashlib
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

import redis
import structlog

from serving.errors import PositionConflictError
from serving.store.checksum import unwrapped, wrapped
from serving.store.limits import check_limit
from serving.store.port import Change, Cursor, Rank, Usage
from serving.store.redis_batch import Batch
from serving.store.redis_layout import HASH, SORTED, WRITE_SCRIPT
from serving.store.redis_queries import RedisQueries, values

log = structlog.get_logger()

_SHA = hashlib.sha1(WRITE_SCRIPT.encode(), usedforsecurity=False).hexdigest()
_NONE = b""
_PAGE = 1000


class RedisWriter(RedisQueries):
    """See port.py. As durable as the server: with `appendfsync everysec`, its last second may be forgotten."""

    def cursor(self, shard: int) -> Cursor | None:
        """Return where the shard stands; None when nothing was ever written.

        When the cursor is damaged nobody knows what the shard's entries contain, so they are forgotten with it.
        """
        key = self._keys.cursor(shard)
        with self._converted():
            (raw,) = values(self._client.mget([key]), 1)
        stored = unwrapped(key, raw)
        if raw is not None and stored is None:
            self._forget(shard, raw)
        return Cursor.decode(stored) if stored is not None else None

    def write(self, shard: int, expected: Cursor | None, new: Cursor, changes: Sequence[Change | Rank]) -> None:
        """Apply all changes and move the cursor, or raise PositionConflictError and do nothing."""
        self._apply(shard, _stored(expected), _stored(new), Batch(changes))

    def together(self) -> AbstractContextManager[None]:
        """Nothing to be gained: a script is a step of its own, and shards may lie on different servers."""
        return nullcontext()

    def drop(self, shard: int, expected: Cursor | None, name: bytes, limit: int) -> bool:
        """Remove at most `limit` entries of this name; True = nothing is left."""
        check_limit(limit)
        before = _stored(expected)
        self._apply(shard, before, before, self._some(shard, [(HASH, name), (SORTED, name)], limit))
        with self._converted():
            left: Any = self._client.exists(*(self._keys.named(shard, kind, name) for kind in (HASH, SORTED)))
            return int(left) == 0

    def usage(self) -> Usage:
        """Return what the whole server uses, and its `maxmemory`."""
        with self._converted():
            memory: Any = self._client.info("memory")
            return Usage(int(memory.get("used_memory", 0)), int(memory.get("maxmemory", 0)) or None)

    def sweep(self) -> None:
        """Look whether the server may drop entries, which nobody would notice; else it needs no housekeeping."""
        with suppress(redis.RedisError):  # not every account may ask
            memory: Any = self._client.info("memory")
            policy = memory.get("maxmemory_policy", "noeviction")
            if memory.get("maxmemory", 0) and policy != "noeviction":
                log.error("store.evicts", at=self._address, policy=policy, action="set maxmemory-policy to noeviction")

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _apply(self, shard: int, before: bytes, after: bytes, batch: Batch) -> None:
        keys = [self._keys.cursor(shard), self._keys.names(shard), *batch.keys(self._keys, shard)]
        arguments = [*keys, before, after, *batch.arguments()]
        with self._converted():
            try:
                outcome: Any = self._client.evalsha(_SHA, len(keys), *arguments)
            except redis.exceptions.NoScriptError:
                outcome = self._client.eval(WRITE_SCRIPT, len(keys), *arguments)
            if outcome == 1:
                return
            (found,) = values(outcome, 1)
        wanted, actual = (_shown(unwrapped(keys[0], raw or None)) for raw in (before, found))
        raise PositionConflictError(f"shard {shard}: expected the cursor {wanted}, got {actual} at {self._address}")

    def _some(self, shard: int, names: Sequence[tuple[bytes, bytes]], limit: int) -> Batch:
        """Find at most `limit` entries to remove."""
        batch = Batch()
        for kind, name in names:
            at = self._keys.named(shard, kind, name)
            keys: list[bytes] = []
            if limit and kind == HASH:
                keys = self._ask([], self._client.hrandfield, at, limit)
            elif limit:
                keys = self._ask([], self._client.zrange, at, 0, limit - 1)
            batch.remove(kind, name, keys)
            limit -= len(keys)
        return batch

    def _forget(self, shard: int, damaged: bytes) -> None:
        """Delete a shard, the cursor last, and only while the cursor is the damaged one."""
        while names := self._named(shard):
            self._apply(shard, damaged, damaged, self._some(shard, names[:_PAGE], _PAGE))
        self._apply(shard, damaged, _NONE, Batch())


def _stored(cursor: Cursor | None) -> bytes:
    return wrapped(cursor.encode()) if cursor is not None else _NONE


def _shown(cursor: bytes | None) -> Cursor | None:
    return Cursor.decode(cursor) if cursor is not None else None
