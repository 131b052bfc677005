"""Whether there is memory for one more model, and where not, whether others are given up for it."""

from collections.abc import Callable

from serving.bundles.bundle import WEIGHTS, Bundle
from serving.models.lifecycle import NotWantedError
from serving.models.memory import ModelMemory, NoRoomError, Taken

_ROOM_S = 60.0
"""Waiting for others to be unloaded: requests that run on them have to end first."""

MakeRoom = Callable[[int], bool]
"""Asks for so many bytes more; tells whether they are being given back."""


def no_room(_short_bytes: int) -> bool:
    """Nothing is unloaded for another."""
    return False


class Admission:
    """`memory`: that a worker's models share. `sharers`: processes of the node, which have one copy of weights."""

    def __init__(self, memory: ModelMemory, sharers: int) -> None:
        self._memory = memory
        self._sharers = sharers

    def size(self, bundle: Bundle, private_bytes: int) -> int:
        """What it counts for: its own memory, and of external weights, which are there once a node, an equal part.

        Where a system does not tell what a trial took, its own memory is at least what is in its files.
        """
        sizes = {file.name: file.stat().st_size for file in bundle.folder.iterdir()}
        shared = sizes.pop(WEIGHTS, 0)
        return max(private_bytes, sum(sizes.values())) + -(-shared // self._sharers)

    def take(self, what: str, size: int, wanted: Callable[[], bool], make_room: MakeRoom) -> Taken:
        """Count a model of so many bytes; NoRoomError, or NotWantedError once it is not `wanted` any more."""
        try:
            return self._memory.take(what, size)
        except NoRoomError as error:
            if error.rejected:
                raise
            if not make_room(error.short_bytes):
                return self._memory.take(what, size)  # something may have been unloaded since
        taken = self._memory.take_soon(what, size, _ROOM_S, wanted)
        if taken is None:
            raise NotWantedError
        return taken
