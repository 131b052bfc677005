"""What a writer asks of the store over Redis or Valkey."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from serving.errors import StoreFullError, StoreUnavailableError
from serving.store.checksum import is_of_another_type, unwrapped
from serving.store.limits import check_keys, check_limit
from serving.store.port import MAX_SCORE
from serving.store.redis_layout import CONNECT_S, HASH, PROTOCOL, READ_S, SORTED, KeySpace, address

_PAGE = 1000


class RedisQueries:
    """See StoreWriter in port.py."""

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

    def read(self, shard: int, space: bytes, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of each key, None where there is none."""
        check_keys(keys)
        at = self._keys.named(shard, HASH, space)
        with self._converted():
            stored = self._many(self._client.hmget, at, keys)
            return [unwrapped(at + b" " + key, value) for key, value in zip(keys, stored, strict=True)]

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
        self,
        shard: int,
        ranking: bytes,
        limit: int,
        *,
        least: int = 0,
        most: int = MAX_SCORE,
        after: tuple[bytes, int] | None = None,
    ) -> list[tuple[bytes, int]]:
        """Return the first members in order of scores."""
        check_limit(limit)
        at, ask = self._keys.named(shard, SORTED, ranking), self._client.zrangebyscore
        if after is not None:
            return self._behind(at, limit, least, most, after)
        with self._converted():
            found = self._ask([], ask, at, least, most, start=0, num=limit, withscores=True)
            return [(member, int(score)) for member, score in found]

    def _behind(
        self, at: bytes, limit: int, least: int, most: int, after: tuple[bytes, int]
    ) -> list[tuple[bytes, int]]:
        """The next page. From the member's place on; where it is gone, from the first one with its score."""
        member, passed = after
        with self._converted():
            place = self._ask(None, self._client.zrank, at, member)
            start = self._ask(0, self._client.zcount, at, "-inf", f"({passed}") if place is None else place + 1
            kept: list[tuple[bytes, int]] = []
            while True:
                page = [
                    (name, int(score))
                    for name, score in self._ask([], self._client.zrange, at, start, start + limit - 1, withscores=True)
                ]
                kept += [(n, s) for n, s in page if (s, n) > (passed, member) and least <= s <= most]
                if len(kept) >= limit or len(page) < limit or page[-1][1] > most:
                    return kept[:limit]
                start += limit

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

    def _named(self, shard: int) -> list[tuple[bytes, bytes]]:
        """Return kind and name of all that hold anything."""
        with self._converted():
            found: set[bytes] = self._ask(set(), self._client.smembers, self._keys.names(shard))
            return [(name[:1], name[2:]) for name in sorted(found)]

    def _many(self, command: Callable[..., Any], at: bytes, keys: Sequence[bytes]) -> list[Any]:
        """Ask for one value a key."""
        return values(self._ask([None] * len(keys), command, at, list(keys)), len(keys)) if keys else []

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


def values(answer: Any, count: int) -> list[Any]:
    """Demand a list of so many; ValueError for garbage."""
    if not isinstance(answer, list) or len(answer) != count:
        raise ValueError(f"expected {count} values, got {answer!r:.100}")
    return answer
