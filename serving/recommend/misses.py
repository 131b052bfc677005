"""Asks near-line workers for the predictions that were missed, so that the next request is a hit.

Only they write the store. At most one request is under way for an entity and version; what does not fit into the queue
is not asked for: the next miss will ask again.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from protos.commands import Recompute
from protos.topics import Topics
from serving.bus.port import Bus
from serving.errors import NearlineError
from serving.telemetry.trouble import Trouble

_AGAIN_S = 10.0
"""So long an answer is waited for before the same is asked for once more."""
_MOST = 10_000
_WAIT_S = 0.02
_RETRY_S = 1.0

Name = tuple[bytes, str, int, bool]
"""Entity, model, version, and whether there was a prediction that had expired."""


class Misses:
    """`missed` from the event loop; one thread that appends to `commands`."""

    def __init__(self, connect: Callable[[], Bus], topics: Topics) -> None:
        self._connect = connect
        self._topics = topics
        self._asked: OrderedDict[Name, float] = OrderedDict()
        self._waiting: list[Name] = []
        self._news = threading.Event()
        self._stopping = threading.Event()
        self._trouble = Trouble("misses.waiting", "misses.back")
        self._thread = threading.Thread(target=self._run, name="misses", daemon=True)

    def start(self) -> None:
        """Start asking."""
        self._thread.start()

    def stop(self) -> None:
        """Stop asking; what waits is not asked for."""
        self._stopping.set()
        self._news.set()
        self._thread.join(timeout=5)

    def missed(self, entity: bytes, model: str, version: int, *, expired: bool = False) -> bool:
        """Ask for a prediction, unless that was done a moment ago; tell whether it was asked for."""
        now = time.monotonic()
        while self._asked and next(iter(self._asked.values())) < now - _AGAIN_S:
            self._asked.popitem(last=False)
        name = (entity, model, version, expired)
        if name in self._asked or len(self._asked) >= _MOST:
            return False
        self._asked[name] = now
        self._waiting.append(name)
        self._news.set()
        return True

    def _run(self) -> None:
        while not self._stopping.is_set():
            bus = self._connect()
            try:
                self._append(bus)
            except NearlineError as error:
                self._trouble.met(str(error))
                self._stopping.wait(_RETRY_S)
            finally:
                bus.close()

    def _append(self, bus: Bus) -> None:
        topic = self._topics.commands.name
        while not self._stopping.is_set():
            self._news.wait()
            self._news.clear()
            names, self._waiting = self._waiting, []
            if names:
                try:
                    bus.append_many(topic, [Recompute(*name).encode() for name in names])
                except NearlineError:
                    self._waiting[:0] = names
                    self._news.set()
                    raise
                self._trouble.ended()
            self._stopping.wait(_WAIT_S)  # misses come in bursts: one append for many
