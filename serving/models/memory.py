"""How much memory the loaded models of one worker take, and whether one more fits. Old and new count during a swap.

Counted is what a model took in its trial, and not what the process has: that would have to be taken before it is known
to be too much.
"""

import threading
import time
from collections.abc import Callable
from contextlib import nullcontext

from protos.nearline.v1 import status_pb2
from serving.errors import ModelError
from serving.models.promises import Promises

ANY = 0
"""A budget of so many bytes is none."""
_LOOK_S = 0.1


class NoRoomError(ModelError):
    """A model does not fit beside what is loaded: it may once `short_bytes` are given back. Rejected: never does."""

    def __init__(self, message: str, short_bytes: int, *, rejected: bool) -> None:
        super().__init__(status_pb2.RESOURCE, message, rejected=rejected)
        self.short_bytes = short_bytes


class Taken:
    """Memory that a model has, until it is given back. Any thread."""

    def __init__(
        self, arrived: Callable[["Taken"], None], give_back: Callable[["Taken"], None], what: str, size: int
    ) -> None:
        self._arrived = arrived
        self._give_back = give_back
        self.what = what
        self.size = size
        self.promised = size
        """What of it is not taken yet, as far as is known."""

    def there(self) -> None:
        """Say that the model is loaded: what the machine has free is less by now."""
        self._arrived(self)

    def give_back(self) -> None:
        """Say that the model is gone; once is enough."""
        self._give_back(self)


class ModelMemory:
    """Of one worker; any thread.

    budget_bytes: for all models at once; ANY = no limit. free_bytes: what the machine has left, where that counts, too.
    promises: the node's other workers, who look at the same machine. used_bytes: of all models that are loaded, or are
    being loaded.
    """

    def __init__(
        self,
        budget_bytes: int = ANY,
        free_bytes: Callable[[], int] | None = None,
        promises: Promises | None = None,
    ) -> None:
        self.budget_bytes = budget_bytes
        self.used_bytes = 0
        self._free_bytes = free_bytes
        self._promises = promises
        self._taken: set[Taken] = set()
        self._changed = threading.Condition()

    def take(self, what: str, size: int) -> Taken:
        """Count a model that is about to be loaded; NoRoomError when it does not fit."""
        with self._changed:
            return self._take(what, size)

    def take_soon(self, what: str, size: int, wait_s: float, wanted: Callable[[], bool]) -> Taken | None:
        """The same, but wait until others have given back enough; None once it is not `wanted` any more."""
        deadline = time.monotonic() + wait_s
        with self._changed:
            while wanted():
                try:
                    return self._take(what, size)
                except NoRoomError:
                    if time.monotonic() > deadline:
                        raise
                    self._changed.wait(_LOOK_S)
        return None

    def _take(self, what: str, size: int) -> Taken:
        with self._promises.alone() if self._promises else nullcontext():
            if self.budget_bytes != ANY:
                self._check(what, size)
            taken = Taken(self._arrived, self._give_back, what, size)
            self._taken.add(taken)
            self.used_bytes += size
            self._tell()
        return taken

    def _check(self, what: str, size: int) -> None:
        budget, used = self.budget_bytes, self.used_bytes
        if size > budget:
            message = f"memory: expected at most {_shown(budget)}, the budget of a worker's models, got {_shown(size)}"
            raise NoRoomError(message, size - budget, rejected=True)
        if size > budget - used:
            beside = ", ".join(sorted(f"{taken.what} {_shown(taken.size)}" for taken in tuple(self._taken)))
            message = (
                f"memory: expected at most {_shown(budget - used)}, what is left of {_shown(budget)} beside {beside}, "
                f"got {_shown(size)} of {what}"
            )
            raise NoRoomError(message, size - (budget - used), rejected=False)
        if self._free_bytes is not None and size > (free := max(0, self._free_bytes() - self._promised())):
            message = (
                f"memory: expected at most {_shown(free)}, what this machine has free beside models that are being "
                f"loaded, got {_shown(size)} of {what}"
            )
            raise NoRoomError(message, size - free, rejected=False)

    def _promised(self) -> int:
        mine = sum(taken.promised for taken in self._taken)
        return mine + (self._promises.of_others() if self._promises else 0)

    def _tell(self) -> None:
        if self._promises is not None:
            self._promises.say(sum(taken.promised for taken in self._taken))

    def _arrived(self, taken: Taken) -> None:
        with self._changed:
            taken.promised = 0
            self._tell()

    def _give_back(self, taken: Taken) -> None:
        with self._changed:
            if taken in self._taken:
                self._taken.discard(taken)
                self.used_bytes -= taken.size
                self._tell()
                self._changed.notify_all()


def _shown(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
