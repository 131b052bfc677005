"""The requests of one call, as the handler of a streaming method takes them."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from serving.rpc.native.messages import Framed


class Incoming:
    """An async iterator that the connection feeds. `taken(size, hungry)`: the handler took so many bytes of it.

    `decode` is called when the handler takes a message: what waits here stays as small as it came.
    """

    def __init__(self, decode: Callable[[Framed], Message], taken: Callable[[int, bool], None]) -> None:
        self._decode = decode
        self._taken = taken
        self._queue: deque[Framed] = deque()
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None

    @property
    def hungry(self) -> bool:
        """Whether nothing waits for the handler."""
        return not self._queue

    def put(self, messages: list[Framed], *, ended: bool) -> None:
        """Take what came."""
        self._queue += messages
        self._ended = self._ended or ended
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def __aiter__(self) -> "Incoming":
        return self

    async def __anext__(self) -> Any:
        while not self._queue:
            if self._ended:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
            self._waiter = None
        framed = self._queue.popleft()
        self._taken(len(framed[1]), not self._queue)
        return self._decode(framed)
