"""A thread that does what it is told, one thing after the other, and by itself what has become due."""

import queue
import threading
import time
from collections.abc import Callable

import structlog

log = structlog.get_logger()

Message = Callable[[], None]

_PAUSE_S = 0.05
"""Between what has become due and what does next: a defect that leaves it due must not take the processor."""


class Mailbox:
    """What only its thread touches needs no lock. `put` may be called by any thread."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._messages: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._not_before = 0.0

    def start(self, due_at: Callable[[], float | None], do_due: Message) -> None:
        """Start the thread; messages that came before wait for it.

        `due_at` tells, by the monotonic clock, when `do_due` is to be called if no message comes before; None = never.
        """
        self._thread = threading.Thread(target=self._run, args=(due_at, do_due), name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Do what was put before, and end; later messages are dropped."""
        self._messages.put(None)
        if self._thread is not None:
            self._thread.join(timeout=10)

    def put(self, message: Message) -> None:
        """Have it done."""
        self._messages.put(message)

    def _run(self, due_at: Callable[[], float | None], do_due: Message) -> None:
        while (message := self._next(due_at(), do_due)) is not None:
            try:
                message()
            except Exception:
                # The thread must outlive a defect in one thing: the others still have to be done.
                log.exception("deployer.defect")

    def _next(self, due_at: float | None, do_due: Message) -> Message | None:
        wait_s = None if due_at is None else max(0.0, max(due_at, self._not_before) - time.monotonic())
        try:
            return self._messages.get(timeout=wait_s)
        except queue.Empty:
            self._not_before = time.monotonic() + _PAUSE_S
            return do_due
