"""Mends how kafka-python 3.0.12 joins a group.

It forgets the result of a join that ends between two polls. Its join goes on in the background when a poll's time is
over. But the next poll, finding it done, sends another JoinGroup instead of taking the assignment, so that two members
with short polls may rebalance for ever. Or, when changed metadata were the reason to join, it sees no reason any more,
and stays a member without partitions or heartbeats (coordinator/base.py, join_group_async). Here there is a reason to
join until the assignment was taken, and the second join answers with the first one's result.

It does not tell of lost partitions when the answer to its JoinGroup is the first to say that it is no member any more:
it would go on with them where it was, though others read them meanwhile. Here it prepares for the next join anew.

And while a join is under way its poll returns nothing, although a cooperative member keeps its partitions: one member
that is slow to join, because it computes, would stop all others. Here a poll waits a little for the join, and reads on.
No partition is given away meanwhile: that happens in the poll that takes the join's result.
"""

import time
from typing import Any


def keep_finished_joins(consumer: Any) -> None:
    """Mend one consumer. Does nothing when the library has changed."""
    coordinator = getattr(consumer, "_coordinator", None)
    if all(hasattr(coordinator, name) for name in ("_join_task", "_do_join_and_sync_async", "_on_join_complete_async")):
        _KeptJoin(coordinator)


def read_on_while_joining(consumer: Any) -> None:
    """Mend one consumer. Does nothing when the library has changed."""
    coordinator = getattr(consumer, "_coordinator", None)
    if all(hasattr(coordinator, name) for name in ("_join_task", "_generation", "need_rejoin", "poll")):
        _ReadOn(consumer, coordinator)


_JOIN_MS = 10


class _ReadOn:
    # On the thread that polls.
    def __init__(self, consumer: Any, coordinator: Any) -> None:
        self._consumer = consumer
        self._coordinator = coordinator
        self._poll = coordinator.poll
        self._long_s = coordinator.config["max_poll_interval_ms"] / 1000
        self._polled = time.monotonic()
        self._late = False
        coordinator.poll = self.poll

    def poll(self, timeout_ms: float | None = None) -> bool:
        # Who comes late may have lost everything, and not know it: that one waits for the answer.
        self._late = self._late or time.monotonic() - self._polled > self._long_s
        joined = self._join(timeout_ms)
        self._late = self._late and not joined
        self._polled = time.monotonic()
        return joined

    def _join(self, timeout_ms: float | None) -> bool:
        kept = self._coordinator.need_rejoin() and self._consumer.assignment()
        if timeout_ms is None or self._late or not kept:
            return bool(self._poll(timeout_ms=timeout_ms))
        joined = self._poll(timeout_ms=min(timeout_ms, _JOIN_MS))
        lost = self._coordinator._generation.is_lost()  # noqa: SLF001 - there is no public way, see above
        return bool(joined) or (self._coordinator._join_task is not None and not lost)  # noqa: SLF001 - as above


class _KeptJoin:
    # Everything here runs on the client's I/O thread.
    def __init__(self, coordinator: Any) -> None:
        self._coordinator = coordinator
        self._join = coordinator._do_join_and_sync_async  # noqa: SLF001 - there is no public way, see above
        self._complete = coordinator._on_join_complete_async  # noqa: SLF001 - as above
        self._kept: bytes | None = None
        self._generation: object = None
        coordinator._do_join_and_sync_async = self.join  # noqa: SLF001 - as above
        coordinator._on_join_complete_async = self.complete  # noqa: SLF001 - as above

    async def join(self) -> bytes:
        # Leaving the group, or being thrown out, changes the generation: then the result is worth nothing.
        generation = self._coordinator._generation  # noqa: SLF001 - as above
        if self._kept is not None and self._generation is generation:
            return self._kept
        self._kept = None
        self._coordinator.rejoin_needed = True
        try:
            kept: bytes = await self._join()
        except Exception:
            if self._coordinator._generation.is_lost():  # noqa: SLF001 - as above
                self._coordinator.rejoining = False  # prepare again, which tells of what was lost
            raise
        self._kept, self._generation = kept, self._coordinator._generation  # noqa: SLF001 - as above
        return kept

    async def complete(self, *joined: Any) -> None:
        self._kept = None
        await self._complete(*joined)
