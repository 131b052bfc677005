"""The reader's side of the store over Redis: the reads of one event-loop tick go out as one pipeline."""

import asyncio
from collections.abc import Sequence

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from serving.errors import StoreUnavailableError
from serving.store.checksum import is_of_another_type, unwrapped
from serving.store.limits import check_keys
from serving.store.port import Key, Slot
from serving.store.redis_layout import CONNECT_S, HASH, PROTOCOL, READ_S, KeySpace, address

# Pipelines under way at a time; what comes meanwhile waits, and shares the next one.
_IN_FLIGHT = 4
# After a failure, reads fail at once for so long, and then while one pipeline looks whether the server is back:
# requests must not queue up behind a server that is away.
_REST_S = 0.5
_NAMES = 1 << 16

_Waiting = tuple[Sequence[Key], asyncio.Future[list[bytes | None]]]


class RedisReader:
    """See port.py. Belongs to the event loop that first reads."""

    def __init__(self, url: str, namespace: str) -> None:
        self._address = address(url)
        self._keys = KeySpace(namespace)
        self._names: dict[tuple[int, bytes], bytes] = {}
        self._client = redis.asyncio.Redis.from_url(
            url,
            protocol=PROTOCOL,
            socket_connect_timeout=CONNECT_S,
            socket_timeout=READ_S,
            # Once more at once: a connection may have died while it was idle.
            retry=Retry(NoBackoff(), 1, (redis.ConnectionError,)),
        )
        self._waiting: list[_Waiting] = []
        self._scheduled = False
        self._running: set[asyncio.Task[None]] = set()
        self._failure = ""
        self._away = False
        self._rest_until = 0.0
        self._closed = False

    def read_now(self, keys: Sequence[Key]) -> None:
        """Nothing can be read without waiting."""

    def slot(self, key: Key) -> Slot:
        """Of no use here, since nothing can be read without waiting."""
        check_keys([key.key])
        return Slot(key.key)

    def read_slots(self, slots: Sequence[Slot]) -> None:
        """As `read_now`."""

    async def read(self, keys: Sequence[Key]) -> list[bytes | None]:
        """Return the value of each key, None where there is none; StoreUnavailableError when it is away."""
        check_keys([key for _, _, key in keys])
        for shard, space, _ in keys:
            self._name(shard, space)
        loop = asyncio.get_running_loop()
        if self._closed or loop.time() < self._rest_until or (self._away and self._running):
            raise StoreUnavailableError(self._failure)
        answer: asyncio.Future[list[bytes | None]] = loop.create_future()
        self._waiting.append((keys, answer))
        self._schedule()
        return await answer

    async def close(self) -> None:
        """Close the connections; reads under way fail."""
        self._closed = True
        self._failure = f"redis at {self._address}: closed"
        self._fail()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._client.aclose()

    def _name(self, shard: int, space: bytes) -> bytes:
        name = self._names.get((shard, space))
        if name is None:
            if len(self._names) >= _NAMES:
                self._names.clear()
            name = self._names[shard, space] = self._keys.named(shard, HASH, space)
        return name

    def _schedule(self) -> None:
        if self._waiting and not self._scheduled and not self._closed and len(self._running) < _IN_FLIGHT:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        self._scheduled = False
        if self._waiting and not self._closed:
            batch, self._waiting = self._waiting, []
            task = asyncio.get_running_loop().create_task(self._answer(batch))
            self._running.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._schedule()

    async def _answer(self, batch: list[_Waiting]) -> None:
        try:
            # The library bounds each step; this bounds their sum.
            async with asyncio.timeout(CONNECT_S + READ_S):
                found = await self._fetch({key for keys, _ in batch for key in keys})
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - garbage makes the parser raise anything
            if not self._closed:
                self._failure = f"redis at {self._address}: {error or 'no answer in time'}"
                self._away = True
                self._rest_until = asyncio.get_running_loop().time() + _REST_S
            self._waiting += batch
            self._fail()
            return
        self._away = False
        for keys, answer in batch:
            if not answer.done():
                answer.set_result([found[key] for key in keys])

    async def _fetch(self, wanted: set[Key]) -> dict[Key, bytes | None]:
        """One HMGET a space of a shard."""
        spaces: dict[tuple[int, bytes], list[Key]] = {}
        for key in wanted:
            spaces.setdefault((key.shard, key.space), []).append(key)
        async with self._client.pipeline(transaction=False) as pipeline:
            for (shard, space), keys in spaces.items():
                pipeline.hmget(self._name(shard, space), [key.key for key in keys])
            answers = await pipeline.execute(raise_on_error=False)
        found: dict[Key, bytes | None] = {}
        for (at, keys), values in zip(spaces.items(), answers, strict=True):
            name = self._name(*at)
            if isinstance(values, redis.ResponseError) and is_of_another_type(name, values):
                found.update(dict.fromkeys(keys))
                continue
            if isinstance(values, Exception):
                raise values
            for key, stored in zip(keys, values, strict=True):
                found[key] = unwrapped(name + b" " + key.key, stored)
        return found

    def _fail(self) -> None:
        waiting, self._waiting = self._waiting, []
        for _, answer in waiting:
            if not answer.done():
                answer.set_exception(StoreUnavailableError(self._failure))
