"""A batch of changes as the arguments of the guarded write (redis_layout.WRITE_SCRIPT)."""

from collections.abc import Sequence

from serving.store.checksum import wrapped
from serving.store.limits import check_changes
from serving.store.port import Change, Rank
from serving.store.redis_layout import HASH, SORTED, KeySpace

_Puts = dict[bytes, bytes | int | None]
"""What becomes of keys or members: None = removed. The last change of each counts."""


class Batch:
    """Changes of one shard, by space and ranking."""

    def __init__(self, changes: Sequence[Change | Rank] = ()) -> None:
        check_changes(changes)
        self._named: dict[tuple[bytes, bytes], _Puts] = {}
        for change in changes:
            if isinstance(change, Rank):
                self._of(SORTED, change.ranking)[change.member] = change.score
            else:
                _, key, value = change
                self._of(HASH, change[0])[key] = None if value is None else wrapped(value)

    def remove(self, kind: bytes, name: bytes, keys: Sequence[bytes]) -> None:
        """Remove keys of a space, or members of a ranking. With none, what is not of the right type goes."""
        self._of(kind, name).update(dict.fromkeys(keys))

    def keys(self, space: KeySpace, shard: int) -> list[bytes]:
        """Return the script's KEYS from the third on."""
        return [space.named(shard, kind, name) for kind, name in self._named]

    def arguments(self) -> list[bytes | int]:
        """Return the script's ARGV from the third on."""
        arguments: list[bytes | int] = []
        for (kind, name), puts in self._named.items():
            removed: list[bytes | int] = [key for key, value in puts.items() if value is None]
            put: list[bytes | int] = []
            for key, value in puts.items():
                if value is not None:
                    put += (key, value) if kind == HASH else (value, key)
            arguments += [kind, kind + b":" + name, len(removed), len(put), *removed, *put]
        return arguments

    def _of(self, kind: bytes, name: bytes) -> _Puts:
        found = self._named.get((kind, name))
        if found is None:
            found = self._named[kind, name] = {}
        return found
