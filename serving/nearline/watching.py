"""A serving worker's look at the store: lets the deployer decide anew as soon as a version is filled.

It asks only while `Recommend` waits for one.
"""

import asyncio
import contextlib
from collections.abc import Callable

from serving.errors import StoreUnavailableError
from serving.models.table import ActiveTable
from serving.nearline.fills import FillView
from serving.store.port import StoreReader

_LOOK_S = 0.1


class FillWatcher:
    """A task of the worker's event loop."""

    def __init__(self, view: FillView, table: ActiveTable, store: StoreReader, refilled: Callable[[str], None]) -> None:
        self._view = view
        self._table = table
        self._store = store
        self._refilled = refilled
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start looking."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            for model, keys in self._view.wanted(self._table).items():
                # While the store is away nothing is learnt; the maximum wait still counts.
                with contextlib.suppress(StoreUnavailableError):
                    self._view.learn(keys, await self._store.read(keys))
                self._refilled(model)
            await asyncio.sleep(_LOOK_S)
