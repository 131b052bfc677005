"""A store's reader whose reads are spans of the request that waits for them."""

import time
from collections.abc import Sequence

from serving.errors import StoreUnavailableError
from serving.store.port import Key, Slot, StoreReader
from serving.telemetry.tracing import Tracing


class TracedReader:
    """See port.StoreReader."""

    def __init__(self, reader: StoreReader, tracing: Tracing) -> None:
        self._reader = reader
        self._tracing = tracing

    def slot(self, key: Key) -> Slot:
        """See port.StoreReader."""
        return self._reader.slot(key)

    def read_slots(self, slots: Sequence[Slot]) -> list[bytes | None] | None:
        """See port.StoreReader; reads for many requests at once, so it is no span of any."""
        return self._reader.read_slots(slots)

    def read_now(self, keys: Sequence[Key]) -> list[bytes | None] | None:
        """See port.StoreReader; None is no read."""
        began = time.time_ns()
        found = self._reader.read_now(keys)
        if found is not None:
            self._tell(began, keys, found)
        return found

    async def read(self, keys: Sequence[Key]) -> list[bytes | None]:
        """See port.StoreReader."""
        began = time.time_ns()
        try:
            found = await self._reader.read(keys)
        except StoreUnavailableError as error:
            self._tell(began, keys, (), str(error))
            raise
        self._tell(began, keys, found)
        return found

    async def close(self) -> None:
        """See port.StoreReader."""
        await self._reader.close()

    def _tell(self, began: int, keys: Sequence[Key], found: Sequence[bytes | None], error: str = "") -> None:
        span = self._tracing.current()
        if span is not None:
            counts = {"nearline.store.keys": len(keys), "nearline.store.found": sum(one is not None for one in found)}
            self._tracing.stage(span, "nearline.store.read", (began, time.time_ns()), counts, error=error)
