"""The writer's side of the store over Redis or Valkey, which many nodes share.

A reply can be lost: the script ran, and the connection died before the answer. `write` is then sent once more by the
library, or raises StoreUnavailableError and the caller starts again. Either way the script finds the cursor
moved on by the very same write, and raises PositionConflictError. The caller does what it does after each of both:
it reads the cursor, and goes on there, right behind its own write. Nothing is applied twice.

A server that forgot (failed over, restarted empty) forgot the cursor together with the effects: the same rule
computes both again.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry

from serving.errors import PositionConflictError, StoreFullError, StoreUnavailableError
from serving.store.checksum import is_of_another_type, unwrapped, wrapped
from serving.store.limits import check_keys, check_limit
from serving.store.port import MAX_SCORE, Change, Cursor, Rank, Usage
from serving.store.redis_batch import Batch
from serving.store.redis_layout import (
    CONNECT_S,
    HASH,
    PROTOCOL,
    READ_S,
    SORTED,
    WRITE_SCRIPT,
    KeySpace,
    address,
)  # fmt: skip

log = structlog.get_logger()

_SHA = hashlib.sha1(WRITE_SCRIPT.encode(), usedforsecurity=False).hexdigest()
_NONE = b""
_PAGE = 1000


class RedisWriter:
    """See port.py. As durable as the server: with `appendfsync everysec`, its last second may be forgotten."""

    def __init__(self, url: str, namespace: str) -> None:
        self._address = address(url)
        self._keys = KeySpace(namespace)
        self._client = redis.Redis.from_url(
            url,
            protocol=PROTOCOL,
            socket_connect_timeout=CONNECT_S,
            socket_timeout=READ_S,
            # Once more at once: a connection may have died while it was idle.
            retry=Retry(NoBackoff(), 1, (redis.ConnectionError,)),
        )

    def cursor(self, shard: int) -> Cursor | None:
        """Return where the shard stands; None when nothing was ever written.

        When the cursor is damaged nobody knows what the shard's entries contain, so they are forgotten with it.
        """
        key = self._keys.cursor(shard)
        with self._converted():
            (raw,) = _values(self._client.mget([key]), 1)
        stored = unwrapped(key, raw)
        if raw is not None and stored is None:
            self._forget(shard, raw)
        return Cursor.decode(stored) if stored is not None else None

    def read(self, shard: int, space: bytes, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of each key, None where there is none."""
        check_keys(keys)
        at = self._keys.named(shard, HASH, space)
        with self._converted():
            stored = self._many(self._client.hmget, at, keys)
            return [unwrapped(at + b" " + key, value) for key, value in zip(keys, stored, strict=True)]

    def write(self, shard: int, expected: Cursor | None, new: Cursor, changes: Sequence[Change | Rank]) -> None:
        """Apply all changes and move the cursor, or raise PositionConflictError and do nothing."""
        self._apply(shard, _stored(expected), _stored(new), Batch(changes))

    def drop(self, shard: int, expected: Cursor | None, name: bytes, limit: int) -> bool:
        """Remove at most `limit` entries of this name; True = nothing is left."""
        check_limit(limit)
        before = _stored(expected)
        self._apply(shard, before, before, self._some(shard, [(HASH, name), (SORTED, name)], limit))
        with self._converted():
            left: Any = self._client.exists(*(self._keys.named(shard, kind, name) for kind in (HASH, SORTED)))
            return int(left) == 0

    def scan(self, shard: int, space: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield every entry, some perhaps twice while the hash grows."""
        at, position = self._keys.named(shard, HASH, space), 0
        while True:
            with self._converted():
                position, page = self._ask((0, {}), self._client.hscan, at, position, count=_PAGE)
                entries = [(key, unwrapped(at + b" " + key, stored)) for key, stored in page.items()]
            for key, value in entries:
                if value is not None:
                    yield key, value
            if position == 0:
                return

    def spaces(self, shard: int) -> list[bytes]:
        """Return the names of the spaces that hold anything."""
        return [name for kind, name in self._named(shard) if kind == HASH]

    def count(self, shard: int, space: bytes) -> int:
        """Return how many entries a space has."""
        with self._converted():
            return int(self._ask(0, self._client.hlen, self._keys.named(shard, HASH, space)))

    def ranked(
        self, shard: int, ranking: bytes, limit: int, *, least: int = 0, most: int = MAX_SCORE
    ) -> list[tuple[bytes, int]]:
        """Return the first members in order of scores."""
        check_limit(limit)
        at, ask = self._keys.named(shard, SORTED, ranking), self._client.zrangebyscore
        with self._converted():
            found = self._ask([], ask, at, least, most, start=0, num=limit, withscores=True)
            return [(member, int(score)) for member, score in found]

    def ranks(self, shard: int, ranking: bytes, members: Sequence[bytes]) -> list[int | None]:
        """Return the score of each member."""
        check_keys(members)
        with self._converted():
            found = self._many(self._client.zmscore, self._keys.named(shard, SORTED, ranking), members)
            return [None if score is None else int(float(score)) for score in found]

    def rankings(self, shard: int) -> list[bytes]:
        """Return the names of the rankings that hold anything."""
        return [name for kind, name in self._named(shard) if kind == SORTED]

    def size(self, shard: int, ranking: bytes) -> int:
        """Return how many members a ranking has."""
        with self._converted():
            return int(self._ask(0, self._client.zcard, self._keys.named(shard, SORTED, ranking)))

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
            (found,) = _values(outcome, 1)
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

    def _named(self, shard: int) -> list[tuple[bytes, bytes]]:
        """Return kind and name of all that hold anything."""
        with self._converted():
            found: set[bytes] = self._ask(set(), self._client.smembers, self._keys.names(shard))
            return [(name[:1], name[2:]) for name in sorted(found)]

    def _many(self, command: Callable[..., Any], at: bytes, keys: Sequence[bytes]) -> list[Any]:
        """Ask for one value a key."""
        return _values(self._ask([None] * len(keys), command, at, list(keys)), len(keys)) if keys else []

    def _ask(self, none: Any, command: Callable[..., Any], at: bytes, *arguments: Any, **options: Any) -> Any:
        """Ask for what a key holds; `none` when the key is of a type that is not ours."""
        with self._converted():
            try:
                return command(at, *arguments, **options)
            except redis.ResponseError as error:
                if is_of_another_type(at, error):
                    return none
                raise

    @contextmanager
    def _converted(self) -> Iterator[None]:
        """Turn the library's errors into ours. TypeError and ValueError: garbage instead of an answer."""
        try:
            yield
        except (redis.RedisError, OSError, TypeError, ValueError) as error:
            kind = StoreFullError if "OOM" in str(error) or "maxmemory" in str(error) else StoreUnavailableError
            raise kind(f"redis at {self._address}: {error}") from error


def _stored(cursor: Cursor | None) -> bytes:
    return wrapped(cursor.encode()) if cursor is not None else _NONE


def _values(answer: Any, count: int) -> list[Any]:
    if not isinstance(answer, list) or len(answer) != count:
        raise ValueError(f"expected {count} values, got {answer!r:.100}")
    return answer


def _shown(cursor: bytes | None) -> Cursor | None:
    return Cursor.decode(cursor) if cursor is not None else None
