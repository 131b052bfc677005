"""Calling handlers without a transport."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

from serving.rpc.method import Call, Method

CALL = Call("/test", "nobody", None, ())


def handler(methods: Iterable[Method], name: str) -> Any:
    return next(method.handler for method in methods if method.path.endswith(f"/{name}"))


def call(methods: Iterable[Method], name: str, request: object) -> Any:
    """The reply of a unary method."""
    return asyncio.run(handler(methods, name)(request, CALL))


async def stream(*requests: object) -> AsyncIterator[object]:
    for request in requests:
        yield request


async def following(replies: AsyncIterator[Any]) -> Any:
    """The next reply, in time."""
    async with asyncio.timeout(120):
        return await anext(replies)
