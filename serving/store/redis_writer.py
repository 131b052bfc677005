"""The writer's side of the store over Redis or Valkey, which many nodes share.

A reply can be lost: the script ran, and the connection died before the answer. `write` is then sent once more by the
library, or raises StoreUnavailableError and the caller starts again. Either way the script finds the cursor
moved on by the very same write, and raises PositionConflictError. The caller does what it does after each of both:
it reads the cursor, and goes on there, right behind its own write. Nothing is applied twice.

A server that forgot (failed over, restarted empty) forgot the cursor together with the effects: the same rule
computes both again.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry

from serving.errors import PositionConflictError, StoreUnavailableError
from serving.store.checksum import unwrapped, wrapped
from serving.store.port import Change, Cursor, Table
from serving.store.redis_layout import CONNECT_S, PROTOCOL, READ_S, WRITE_SCRIPT, KeySpace, address

log = structlog.get_logger()

_SHA = hashlib.sha1(WRITE_SCRIPT.encode(), usedforsecurity=False).hexdigest()
_DELETED = b""
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

    def read(self, shard: int, table: Table, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of each key, None where there is none."""
        if not keys:
            return []
        prefix = self._keys.prefix(shard, table)
        full = [prefix + key for key in keys]
        with self._converted():
            stored = _values(self._client.mget(full), len(full))
        return [unwrapped(key, value) for key, value in zip(full, stored, strict=True)]

    def write(self, shard: int, expected: Cursor | None, new: Cursor, changes: Sequence[Change]) -> None:
        """Apply all changes and move the cursor, or raise PositionConflictError and do nothing."""
        prefixes = {table: self._keys.prefix(shard, table) for table in Table}
        keys = [prefixes[change.table] + change.key for change in changes]
        values = [_DELETED if change.value is None else wrapped(change.value) for change in changes]
        before = wrapped(expected.encode()) if expected is not None else _DELETED
        self._apply(shard, before, wrapped(new.encode()), keys, values)

    def scan(self, shard: int, table: Table) -> Iterator[tuple[bytes, bytes]]:
        """Yield every entry of a shard. Looks at every key of the server."""
        prefix = self._keys.prefix(shard, table)
        for page in self._pages(prefix):
            keys = [key[len(prefix) :] for key in page]
            for key, value in zip(keys, self.read(shard, table, keys), strict=True):
                if value is not None:
                    yield key, value

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

    def _apply(self, shard: int, before: bytes, after: bytes, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        all_keys = [self._keys.cursor(shard), *keys]
        arguments = [*all_keys, before, after, *values]
        with self._converted():
            try:
                outcome: Any = self._client.evalsha(_SHA, len(all_keys), *arguments)
            except redis.exceptions.NoScriptError:
                outcome = self._client.eval(WRITE_SCRIPT, len(all_keys), *arguments)
            if outcome == 1:
                return
            (found,) = _values(outcome, 1)
        wanted, actual = (_shown(unwrapped(all_keys[0], raw or None)) for raw in (before, found))
        raise PositionConflictError(f"shard {shard}: expected the cursor {wanted}, got {actual} at {self._address}")

    def _forget(self, shard: int, damaged: bytes) -> None:
        """Delete a shard, the cursor last, and only while the cursor is the damaged one."""
        for table in Table:
            for page in self._pages(self._keys.prefix(shard, table)):
                self._apply(shard, damaged, damaged, page, [_DELETED] * len(page))
        self._apply(shard, damaged, _DELETED, [], [])

    def _pages(self, prefix: bytes) -> Iterator[list[bytes]]:
        """Find keys. A set, since SCAN may return a key twice."""
        pattern = re.sub(rb"([*?\[\]\\^])", rb"\\\1", prefix) + b"*"
        with self._converted():
            found = list(set(self._client.scan_iter(match=pattern, count=_PAGE)))
        for start in range(0, len(found), _PAGE):
            yield found[start : start + _PAGE]

    @contextmanager
    def _converted(self) -> Iterator[None]:
        """Turn the library's errors into ours. TypeError and ValueError: garbage instead of an answer."""
        try:
            yield
        except (redis.RedisError, OSError, TypeError, ValueError) as error:
            raise StoreUnavailableError(f"redis at {self._address}: {error}") from error


def _values(answer: Any, count: int) -> list[bytes | None]:
    if not isinstance(answer, list) or len(answer) != count:
        raise ValueError(f"expected {count} values, got {answer!r:.100}")
    return answer


def _shown(cursor: bytes | None) -> Cursor | None:
    return Cursor.decode(cursor) if cursor is not None else None
