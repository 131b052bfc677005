"""Several requests of a stream under way at a time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from serving.rpc.ahead import ahead


async def numbers(count: int, log: list[int] | None = None) -> AsyncIterator[int]:
    for number in range(count):
        if log is not None:
            log.append(number)
        yield number


def test_they_run_together_and_are_answered_in_order() -> None:
    async def scene() -> list[int]:
        together = asyncio.Barrier(3)

        async def answer(number: int) -> int:
            await together.wait()
            return number * 2

        async with asyncio.timeout(120):
            return [found async for found in ahead(numbers(6), answer, 3)]

    assert asyncio.run(scene()) == [0, 2, 4, 6, 8, 10]


def test_no_more_are_read_than_may_be_under_way() -> None:
    read: list[int] = []

    async def scene() -> None:
        async def answer(number: int) -> int:
            return number

        async with aclosing(ahead(numbers(100, read), answer, 4)) as answers:
            assert await anext(answers) == 0
            for _ in range(20):
                await asyncio.sleep(0)
            assert len(read) <= 5, "four, and one that waits for room"

    asyncio.run(scene())


def test_what_reading_raises_comes_after_the_answers() -> None:
    async def broken() -> AsyncIterator[int]:
        yield 1
        raise ConnectionError("gone")

    async def scene() -> list[int]:
        async def answer(number: int) -> int:
            return number

        found: list[int] = []
        answers = ahead(broken(), answer, 4)
        found.append(await anext(answers))
        with pytest.raises(ConnectionError):
            await anext(answers)
        return found

    assert asyncio.run(scene()) == [1]


def test_whoever_leaves_ends_what_is_under_way() -> None:
    ended: list[int] = []

    async def scene() -> None:
        async def answer(number: int) -> int:
            try:
                if number:
                    await asyncio.Event().wait()
            finally:
                ended.append(number)
            return number

        async with aclosing(ahead(numbers(10), answer, 4)) as answers:
            await anext(answers)
            await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(scene())
    assert ended[:1] == [0]
    assert set(ended) >= {1, 2}
