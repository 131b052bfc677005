"""What is known of how far versions are, in a process: read from the store now and then, asked by the deployer."""

import threading
from collections.abc import Callable, Mapping

from serving.models.loaded import LoadedModel
from serving.models.places import FILLS, key_of
from serving.models.switching import Claim, Fill
from serving.models.table import ActiveTable
from serving.nearline.fill_record import FillRecord, together
from serving.store.port import Key


class FillView:
    """Implements switching.Fills. Any thread; `shards`: how many there are."""

    def __init__(self, shards: Callable[[], int]) -> None:
        self._shards = shards
        self._records: Mapping[bytes, Mapping[int, FillRecord]] = {}
        self._lock = threading.Lock()

    def of(self, loaded: LoadedModel, claim: Claim) -> Fill | None:
        """How far a version is; None where nobody has begun."""
        return together(self._records.get(key_of(loaded), {}), self._shards(), claim)

    def wanted(self, table: ActiveTable) -> dict[str, list[Key]]:
        """Which records decide, by model: of those where `Recommend` waits for a version to be filled."""
        found = {}
        for active in table.current.values():
            if active.recommend == active.shares:
                continue
            versions = [active.versions[share.version] for share in active.shares if share.version in active.versions]
            keys = [Key(shard, FILLS, key_of(v)) for v in versions for shard in range(self._shards())]
            found[active.name] = keys
        return found

    def learn(self, keys: list[Key], values: list[bytes | None]) -> None:
        """Take in what was read."""
        fresh: dict[bytes, dict[int, FillRecord]] = {}
        for key, value in zip(keys, values, strict=True):
            records = fresh.setdefault(key.key, {})
            if value is not None:
                records[key.shard] = FillRecord.decode(value)
        with self._lock:
            self._records = {**self._records, **fresh}
