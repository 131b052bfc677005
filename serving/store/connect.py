"""Chooses the store's adapter by its URL, and imports it on choice."""

from pathlib import Path

from serving.environments import Durability
from serving.errors import InvalidRequestError, UserError
from serving.store.port import StoreReader, StoreWriter
from serving.store.redis_layout import EXPECTED_URL, without_password

DEFAULT_BYTES = 16 << 30
_REDIS = ("redis://", "rediss://", "unix://")


def lmdb_folder(data_dir: Path) -> Path:
    """Return where a node's own store is."""
    return data_dir / "store"


def is_shared(url: str) -> bool:
    """Tell whether all nodes share the store, and so split the events instead of each consuming all of them."""
    return url.startswith(_REDIS)


def connect_writer(
    url: str, data_dir: Path, namespace: str, *, store_bytes: int = DEFAULT_BYTES, durability: Durability = "batch"
) -> StoreWriter:
    """Open the store for a near-line worker. `namespace` keeps installations on one Redis apart.

    `store_bytes` and `durability` are LMDB's; a Redis has settings of its own for both.
    """
    if url == "lmdb":
        from serving.store.lmdb_writer import LmdbWriter  # noqa: PLC0415 - on choice

        return LmdbWriter(lmdb_folder(data_dir), store_bytes, durability)
    if is_shared(url):
        _demand_redis()
        from serving.store.redis_writer import RedisWriter  # noqa: PLC0415 - on choice

        return RedisWriter(url, namespace)
    raise InvalidRequestError("store", f"`lmdb`, {EXPECTED_URL}", without_password(url))


def connect_reader(url: str, data_dir: Path, namespace: str, *, durability: Durability = "batch") -> StoreReader:
    """Open the store for a serving worker; `durability` as the writers have it."""
    if url == "lmdb":
        from serving.store.lmdb_reader import LmdbReader  # noqa: PLC0415 - on choice

        return LmdbReader(lmdb_folder(data_dir), durability)
    if is_shared(url):
        _demand_redis()
        from serving.store.redis_reader import RedisReader  # noqa: PLC0415 - on choice

        return RedisReader(url, namespace)
    raise InvalidRequestError("store", f"`lmdb`, {EXPECTED_URL}", without_password(url))


def _demand_redis() -> None:
    try:
        import redis  # noqa: F401, PLC0415 - only to see whether it is there
    except ImportError:
        raise UserError("store: expected the redis library, got none; pip install 'nearline[redis]'") from None
