"""A load that goes on while things happen: so much ahead of what is consumed, and no more, so that faults meet it."""

import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from serving.settings import Settings
from tests.end_to_end.nearline.outcome import looking
from tests.end_to_end.nearline.streams import Record
from tests.end_to_end.waiting import wait_until

_CHUNK = 50
_AHEAD = 400


class Feeding:
    """Appends events and commands, in order, until all are; leaving the `with` waits for that.

    `settings`: of the node by whose store is told what is consumed.
    """

    def __init__(self, settings: Settings, events: Sequence[Record], commands: Sequence[Record] = ()) -> None:
        self._settings = settings
        self._events = list(events)
        self._commands = list(commands)
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._giving_up = threading.Event()
        self._error: BaseException | None = None
        self._allowed = 0.0
        self.consumed = 0
        self.total = len(self._events) + len(self._commands)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._giving_up.set()
        self._allowed = float(self.total)
        self._thread.join(240)
        assert not self._thread.is_alive(), f"fed only {self.consumed} of {self.total}"
        if self._error is not None and kind is None:
            raise self._error

    def wait_for(self, share: float) -> None:
        """Wait until that share of everything has been consumed, while a bit more of it waits; nothing beyond that."""
        self._allowed = share * self.total + _AHEAD
        wait_until(lambda: self._error or self.consumed >= share * self.total, f"{share:.0%} of the load is consumed")

    def _feed(self) -> None:
        try:
            with looking(self._settings) as look:
                before = look.consumed()
                topics = self._settings.topics
                events, commands = self._events, self._commands
                fed = 0
                while not self._giving_up.is_set() and self.consumed < self.total - _AHEAD // 2:
                    self.consumed = max(self.consumed, look.consumed() - before)
                    if fed >= min(self._allowed, self.consumed + _AHEAD) or fed == self.total:
                        self._giving_up.wait(0.005)
                        continue
                    chunk, events = events[:_CHUNK], events[_CHUNK:]
                    few = len(commands) * _CHUNK // (len(events) + _CHUNK) + 1
                    asked, commands = commands[:few], commands[few:]
                    for topic, records in ((topics.events.name, chunk), (topics.commands.name, asked)):
                        look.append(topic, records)
                        fed += len(records)
        except BaseException as error:  # noqa: BLE001 - raised by whoever waits
            self._error = error
