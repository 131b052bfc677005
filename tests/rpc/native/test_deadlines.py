"""Calls expire at their deadlines, and those that have ended cost nothing."""

import asyncio
import time

from serving.rpc.native.deadlines import Deadlines, Due


class Expired:
    """Calls that have expired, in order."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._more = asyncio.Event()

    def add(self, call: "Call") -> None:
        self.calls.append(call)
        self._more.set()

    async def wait(self, count: int) -> None:
        while len(self.calls) < count:
            self._more.clear()
            await self._more.wait()


class Call:
    """Says that it expired, and ends another one."""

    def __init__(self, expired: Expired) -> None:
        self._expired = expired
        self.due: Due | None = None
        self.other: Call | None = None

    def expire(self) -> None:
        self._expired.add(self)
        if self.due is not None and self.other is not None:
            self.due.pop(self.other)


def test_a_call_expires_after_its_deadline_and_never_before() -> None:
    async def scene() -> None:
        deadlines, expired = Deadlines(), Expired()
        calls = [Call(expired) for _ in range(3)]
        now = time.monotonic()
        for call, seconds in zip(calls, (0.03, 0.0, -1.0), strict=True):
            deadlines.add(call, now + seconds)
        assert not expired.calls, "only by the loop"
        await expired.wait(3)
        assert expired.calls[-1] is calls[0]
        assert time.monotonic() >= now + 0.03
        assert not len(deadlines)

    asyncio.run(scene())


def test_a_call_that_has_ended_does_not_expire_even_if_another_ends_it_just_then() -> None:
    async def scene() -> None:
        deadlines, expired = Deadlines(), Expired()
        now = time.monotonic()
        first, ended, later = (Call(expired) for _ in range(3))
        first.due, first.other = deadlines.add(first, now), ended
        assert deadlines.add(ended, now) is first.due
        deadlines.add(later, now + 0.02)
        await expired.wait(2)
        assert expired.calls == [first, later]

    asyncio.run(scene())


def test_what_is_kept_for_calls_that_have_ended_is_bounded_whatever_their_deadlines() -> None:
    async def scene() -> None:
        deadlines, expired = Deadlines(), Expired()
        now, waiting = time.monotonic(), Call(expired)
        deadlines.add(waiting, now + 0.05)
        for number in range(10_000):
            call = Call(expired)
            deadlines.add(call, now + 1000 + number).pop(call)
        assert len(deadlines) <= 2_048
        await expired.wait(1)
        assert expired.calls == [waiting]

    asyncio.run(scene())
