"""Which load of predictions that were computed elsewhere is seen: a pure function of ledger and store."""

from collections.abc import Callable, Mapping

from protos.bulk import previous
from protos.records import BulkLoad

Imported = Callable[[str, BulkLoad], bool]
"""Tells whether every shard of the store has all of a model's load."""


def seen_load(
    loads: Mapping[int, BulkLoad], shown: int, now: BulkLoad | None, imported: Callable[[BulkLoad], bool]
) -> BulkLoad | None:
    """Return the load to be seen; `now` is the one that is.

    All or nothing: the one before stays until all of the next is there. A worker that starts in between shows the one
    before, as the others do.
    """
    desired = loads.get(shown)
    if desired is None or desired == now or imported(desired):
        return desired
    if now is not None:
        return now
    before = loads.get(previous(loads, shown))
    return before if before is not None and imported(before) else None
