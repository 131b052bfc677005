"""Arrays that runs gather their inputs in, kept for the next ones: their memory is there already."""

import threading
from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LARGEST = 16 << 20
_MOST = 64 << 20
"""Bytes of all; beyond them, the array that was used longest ago is given up."""


class Rooms:
    """Used by the threads of all runs. An owner has one run under way at a time: it may use what it finds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[object, str], NDArray[Any]] = OrderedDict()
        self._bytes = 0

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays that are kept."""
        return self._bytes

    def room(self, owner: object, name: str, elements: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return an array of so many elements, whose values may be any."""
        key = (owner, name)
        with self._lock:
            room = self._kept.get(key)
            if room is not None and room.size >= elements:
                self._kept.move_to_end(key)
                return room[:elements]
        room = np.empty(elements, dtype)
        if room.nbytes <= _LARGEST:
            self._keep(key, room)
        return room

    def _keep(self, key: tuple[object, str], room: NDArray[Any]) -> None:
        with self._lock:
            former = self._kept.pop(key, None)
            if former is not None:
                self._bytes -= former.nbytes
            self._kept[key] = room
            self._bytes += room.nbytes
            while self._bytes > _MOST:
                _, old = self._kept.popitem(last=False)
                self._bytes -= old.nbytes
