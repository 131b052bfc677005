"""A whole store as one value, so that two can be compared."""

from collections.abc import Iterable
from typing import NamedTuple

from serving.store.port import Cursor, StoreWriter


class ShardContents(NamedTuple):
    """All that a shard holds."""

    cursor: Cursor | None
    spaces: dict[bytes, dict[bytes, bytes]]
    rankings: dict[bytes, list[tuple[bytes, int]]]


def contents(writer: StoreWriter, shards: Iterable[int]) -> dict[int, ShardContents]:
    """Read shards whole; those that hold nothing are left out. Nobody else may write meanwhile."""
    found = {}
    for shard in shards:
        spaces = {space: dict(writer.scan(shard, space)) for space in writer.spaces(shard)}
        rankings = {
            name: writer.ranked(shard, name, max(1, writer.size(shard, name))) for name in writer.rankings(shard)
        }
        shown = ShardContents(writer.cursor(shard), spaces, rankings)
        if shown != (None, {}, {}):
            found[shard] = shown
    return found
