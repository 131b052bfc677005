"""What is known of how far versions are, in a process: read from the store now and then, asked by the deployer."""

import threading
from collections.abc import Callable, Mapping

from protos.bulk import previous
from protos.records import MILLION, BulkLoad
from serving.models.loaded import LoadedModel
from serving.models.places import FILLS, LOADS, key_of, load_key
from serving.models.switching import Claim, Fill
from serving.models.table import ActiveModel, ActiveTable
from serving.nearline.fill_record import FillRecord, together
from serving.store.port import Key

_Name = tuple[bytes, bytes]
"""Space and key of a record."""


class FillView:
    """Implements switching.Fills. Any thread; `shards`: how many there are."""

    def __init__(self, shards: Callable[[], int]) -> None:
        self._shards = shards
        self._records: Mapping[_Name, Mapping[int, FillRecord]] = {}
        self._lock = threading.Lock()

    def of(self, loaded: LoadedModel, claim: Claim) -> Fill | None:
        """How far a version is; None where nobody has begun."""
        return together(self._records.get((FILLS, key_of(loaded)), {}), self._shards(), claim)

    def untouched(self, loaded: LoadedModel) -> bool:
        """Tell whether it was looked, and no near-line worker has ever computed the version."""
        return self._records.get((FILLS, key_of(loaded))) == {}

    def imported(self, model: str, load: BulkLoad) -> bool:
        """Tell whether every shard has all of a bulk load. Known only while it is asked for (see `wanted`)."""
        fill = together(self._records.get((LOADS, load_key(model, load)), {}), self._shards(), (0, MILLION))
        return fill is not None and fill.known

    def wanted(self, table: ActiveTable) -> dict[str, list[Key]]:
        """Which records decide, by model: where `Recommend` waits for a version to be filled, or for a bulk load."""
        found = {}
        for active in table.current.values():
            names = [*_filling(active), *_loading(active)]
            if names:
                found[active.name] = [Key(shard, *name) for name in names for shard in range(self._shards())]
        self._forget({(key.space, key.key) for keys in found.values() for key in keys})
        return found

    def learn(self, keys: list[Key], values: list[bytes | None]) -> None:
        """Take in what was read."""
        fresh: dict[_Name, dict[int, FillRecord]] = {}
        for key, value in zip(keys, values, strict=True):
            records = fresh.setdefault((key.space, key.key), {})
            if value is not None:
                records[key.shard] = FillRecord.decode(value)
        with self._lock:
            self._records = {**self._records, **fresh}

    def _forget(self, wanted: set[_Name]) -> None:
        """What was there may be gone, or have holes, as soon as nobody waits for it: do not believe that it is."""
        with self._lock:
            if not self._records.keys() <= wanted:
                self._records = {name: records for name, records in self._records.items() if name in wanted}


def _filling(active: ActiveModel) -> list[_Name]:
    if active.recommend == active.shares:
        return []
    return [(FILLS, key_of(loaded)) for loaded in active.versions.values()]


def _loading(active: ActiveModel) -> list[_Name]:
    loads, shown = active.ledger.loads, active.ledger.shown
    if shown not in loads or active.bulk == loads[shown]:
        return []
    numbers = (shown, previous(loads, shown))
    return [(LOADS, load_key(active.name, loads[number])) for number in numbers if number in loads]
