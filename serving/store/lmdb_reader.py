"""The reader's side of the store over LMDB. A read is about a microsecond, and waits for nobody."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lmdb

from serving.environments import Durability, EnvironmentLease
from serving.errors import StoreFullError, StoreUnavailableError
from serving.store.checksum import unwrapped
from serving.store.limits import check_keys
from serving.store.lmdb_layout import ENTRY, get, prefix_of
from serving.store.port import MAX_KEY, Key, Slot


class LmdbReader:
    """See port.py."""

    def __init__(self, path: Path, durability: Durability) -> None:
        self._lease = EnvironmentLease(path, StoreUnavailableError, full=StoreFullError, durability=durability)

    def read_now(self, keys: Sequence[Key]) -> list[bytes | None]:
        """Return the value of each key in one read transaction.

        Every request comes through here, so it does by hand what the lease's `reading` does in twice the time.
        """
        full = []
        for shard, space, key in keys:
            if len(key) > MAX_KEY:
                check_keys([key])
            full.append(prefix_of(ENTRY, shard, space) + key)
        try:
            with self._lease.environment.begin() as transaction:
                if len(full) == 1:
                    return [unwrapped(full[0], transaction.get(full[0]))]
                return [unwrapped(key, get(transaction, key)) for key in full]
        except lmdb.Error as error:
            raise StoreUnavailableError(f"{self._lease.path}: {error}") from error

    def slot(self, key: Key) -> Slot:
        """See port.py."""
        check_keys([key.key])
        return Slot(prefix_of(ENTRY, key.shard, key.space) + key.key)

    def read_slots(self, slots: Sequence[Slot]) -> list[bytes | None]:
        """See port.py. One transaction for all; by hand, as above."""
        values = []
        try:
            with self._lease.environment.begin() as transaction:
                look = transaction.get
                for slot in slots:
                    stored: Any = look(slot.address)
                    if stored != slot.stored:
                        slot.stored, slot.value = stored, unwrapped(slot.address, stored)
                    values.append(slot.value)
        except lmdb.Error as error:
            raise StoreUnavailableError(f"{self._lease.path}: {error}") from error
        return values

    async def read(self, keys: Sequence[Key]) -> list[bytes | None]:
        """Do it at once."""
        return self.read_now(keys)

    async def close(self) -> None:
        """Close the environment when nobody else in this process uses it."""
        self._lease.close()
