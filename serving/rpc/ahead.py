"""Several requests of a stream under way at a time, their answers in order."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

Request = TypeVar("Request")
Answer = TypeVar("Answer")


async def ahead(
    requests: AsyncIterator[Request], answer: Callable[[Request], Coroutine[Any, Any, Answer]], most: int
) -> AsyncGenerator[Answer, None]:
    """Yield the answer to each request, with at most so many of them read and not yet taken.

    What reading raises comes after the answers to what was read. Closing it ends what is under way.
    """
    waiting: asyncio.Queue[asyncio.Task[Answer] | None] = asyncio.Queue()
    room = asyncio.Semaphore(most)

    async def read() -> None:
        try:
            async for request in requests:
                await room.acquire()
                waiting.put_nowait(asyncio.create_task(answer(request)))
        finally:
            waiting.put_nowait(None)

    reader = asyncio.create_task(read())
    current: asyncio.Task[Answer] | None = None
    try:
        while (current := await waiting.get()) is not None:
            yield await current
            room.release()
        await reader
    finally:
        left: list[asyncio.Task[Any]] = [reader, *([current] if current else [])]
        while not waiting.empty():
            task = waiting.get_nowait()
            left += [task] if task else []
        for under_way in left:
            under_way.cancel()
        await asyncio.gather(*left, return_exceptions=True)
