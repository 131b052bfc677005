"""Who of a group reads which partition: leases in LMDB, renewed by heartbeats.

Cooperative: the wanted assignment is computed by everyone alike (sorted members, round robin), and a partition is
only taken once its owner has released it, or its lease has ended. Times are by the wall clock, as all processes see
it; a lease that ends further ahead than a lease is long was written before the clock stepped back, and is over.
"""

import time
from pathlib import Path
from typing import Any

import msgpack

from serving.bus.embedded.files import GROUPS, open_files

LEASE_S = 3.0
HEARTBEAT_S = 0.5


class GroupLeases:
    """The leases of one group on one topic, seen by one member."""

    def __init__(self, path: Path, group: str, topic: str, partitions: int, member: str, lease_s: float) -> None:
        self._lease = open_files(path)
        self._db = self._lease.databases[GROUPS]
        self._prefix = f"{group}\0{topic}\0".encode()
        self._partitions = partitions
        self._member = member
        self._lease_s = lease_s

    def to_release(self, owned: set[int]) -> set[int]:
        """Return which of the partitions that it owns this member should give up."""
        with self._lease.reading() as transaction:
            members = self._members(transaction) | {self._member}
            return owned - self._wanted(members)

    def renew(self, owned: set[int]) -> set[int]:
        """Renew membership and leases, release what is not in `owned`, take what is free; return what it owns now."""
        with self._lease.writing() as transaction:
            expires = time.time() + self._lease_s
            transaction.put(self._key("member", self._member), msgpack.packb(expires), db=self._db)
            members = self._members(transaction)
            wanted = self._wanted(members)
            mine = set()
            for partition in range(self._partitions):
                owner = self._owner(transaction, partition, members)
                if owner == self._member and partition not in owned:
                    transaction.delete(self._key("owner", str(partition)), db=self._db)
                    owner = None
                if owner == self._member or (owner is None and partition in wanted and partition not in owned):
                    entry = msgpack.packb([self._member, expires])
                    transaction.put(self._key("owner", str(partition)), entry, db=self._db)
                    mine.add(partition)
            return mine

    def leave(self) -> None:
        """Release everything at once."""
        with self._lease.writing() as transaction:
            for partition in range(self._partitions):
                if self._owner(transaction, partition, {self._member}) == self._member:
                    transaction.delete(self._key("owner", str(partition)), db=self._db)
            transaction.delete(self._key("member", self._member), db=self._db)

    def commit(self, offsets: dict[int, int]) -> None:
        """Note the next offsets."""
        with self._lease.writing() as transaction:
            for partition, offset in offsets.items():
                transaction.put(self._key("offset", str(partition)), msgpack.packb(offset), db=self._db)

    def committed(self, partition: int) -> int | None:
        """Return the next offset noted; None when there is none."""
        with self._lease.reading() as transaction:
            stored = transaction.get(self._key("offset", str(partition)), db=self._db)
        return None if stored is None else int(msgpack.unpackb(stored))

    def close(self) -> None:
        """Let the environment go."""
        self._lease.close()

    def _members(self, transaction: Any) -> set[str]:
        prefix = self._key("member", "")
        cursor = transaction.cursor(db=self._db)
        members = set()
        found = cursor.set_range(prefix)
        while found and cursor.key().startswith(prefix):
            if self._holds(msgpack.unpackb(cursor.value())):
                members.add(cursor.key()[len(prefix) :].decode())
            found = cursor.next()
        return members

    def _owner(self, transaction: Any, partition: int, members: set[str]) -> str | None:
        stored = transaction.get(self._key("owner", str(partition)), db=self._db)
        if stored is None:
            return None
        owner, expires = msgpack.unpackb(stored)
        return owner if self._holds(expires) and owner in members else None

    def _wanted(self, members: set[str]) -> set[int]:
        order = sorted(members)
        return {p for p in range(self._partitions) if order[p % len(order)] == self._member}

    def _holds(self, expires: float) -> bool:
        now = time.time()
        return now < expires <= now + 2 * self._lease_s

    def _key(self, kind: str, name: str) -> bytes:
        return self._prefix + f"{kind}\0{name}".encode()
