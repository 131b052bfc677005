"""What a writer asks of the store over LMDB."""

from collections.abc import Iterator, Sequence
from itertools import islice

from serving.environments import EnvironmentLease
from serving.store.checksum import unwrapped
from serving.store.limits import check_keys, check_limit
from serving.store.lmdb_layout import ENTRY, ORDER, count, get, names, prefix_of, walk
from serving.store.lmdb_rankings import Rankings
from serving.store.port import MAX_SCORE

_PAGE = 1000


class LmdbQueries:
    """See StoreWriter in port.py."""

    def __init__(self, lease: EnvironmentLease) -> None:
        self._lease = lease

    def read(self, shard: int, space: bytes, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of each key, None where there is none."""
        check_keys(keys)
        prefix = prefix_of(ENTRY, shard, space)
        with self._lease.reading() as transaction:
            return [unwrapped(full, get(transaction, full)) for full in [prefix + key for key in keys]]

    def scan(self, shard: int, space: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield every entry in order of keys; a transaction a page, since a long one would pin old pages."""
        prefix, start = prefix_of(ENTRY, shard, space), b""
        while True:
            with self._lease.reading() as transaction:
                page = list(islice(walk(transaction, prefix, start), _PAGE))
            for key, stored in page:
                value = unwrapped(prefix + key, stored)
                if value is not None:
                    yield key, value
            if len(page) < _PAGE:
                return
            start = page[-1][0] + b"\0"

    def spaces(self, shard: int) -> list[bytes]:
        """Return the names of the spaces that hold anything."""
        with self._lease.reading() as transaction:
            return names(transaction, ENTRY, shard)

    def count(self, shard: int, space: bytes) -> int:
        """Walk over the space's keys."""
        with self._lease.reading() as transaction:
            return count(transaction, prefix_of(ENTRY, shard, space))

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
        with self._lease.reading() as transaction:
            return Rankings(transaction, shard).first(ranking, limit, max(0, least), most, after)

    def ranks(self, shard: int, ranking: bytes, members: Sequence[bytes]) -> list[int | None]:
        """Return the score of each member."""
        check_keys(members)
        with self._lease.reading() as transaction:
            rankings = Rankings(transaction, shard)
            return [rankings.score(ranking, member) for member in members]

    def rankings(self, shard: int) -> list[bytes]:
        """Return the names of the rankings that hold anything."""
        with self._lease.reading() as transaction:
            return names(transaction, ORDER, shard)

    def size(self, shard: int, ranking: bytes) -> int:
        """Return how many members a ranking has."""
        with self._lease.reading() as transaction:
            return Rankings(transaction, shard).size(ranking)
