"""One generator, two ways to run it: the same ends, and nothing is kept of what nobody waits for."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from protos.nearline.v1 import status_pb2
from serving.errors import ModelError, StoreUnavailableError
from serving.models.loaded import LoadedModel
from serving.models.pace import Pace
from serving.recommend.batcher import Batcher
from serving.recommend.queue import Waiting
from serving.recommend.steps import Run, Steps, begun, waited
from serving.store.port import Key, Slot
from serving.telemetry.metrics import Metrics
from tests.builders.bundles import load

KEYS = [Key(0, b"s", b"a")]


class Doubling:
    """Work: twice the item."""

    alone = False

    def __init__(self) -> None:
        self.pace = Pace()

    def run(self, _loaded: LoadedModel, requests: Sequence[Waiting], _rows: int) -> list[int]:
        if any(request.item < 0 for request in requests):
            raise ModelError(status_pb2.LOAD, "negative")
        return [2 * request.item for request in requests]


class Store:
    """Has the value 5 for every key, now, later, or not."""

    def __init__(self, how: str) -> None:
        self._how = how

    def read_now(self, keys: Sequence[Key]) -> list[bytes | None] | None:
        if self._how == "away":
            raise StoreUnavailableError("away")
        return [b"5"] * len(keys) if self._how == "now" else None

    async def read(self, keys: Sequence[Key]) -> list[bytes | None]:
        return [b"5"] * len(keys)

    def slot(self, key: Key) -> Slot:
        return Slot(key.key)

    def read_slots(self, slots: Sequence[Slot]) -> None:
        """Not of interest here."""

    async def close(self) -> None:
        """Holds nothing."""


class Told:
    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.give = self.fail = self.heard.append


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load(tmp_path_factory.mktemp("bundle"), "m", 3)


def steps(loaded: LoadedModel, ended: list[str], factor: int = 1) -> Steps:
    try:
        try:
            (value,) = yield KEYS
        except StoreUnavailableError:
            return b"without"
        try:
            doubled = yield Run(loaded, Doubling(), factor * int(value or 0), 1, None)
        except ModelError:
            return b"failed"
        if doubled == 20:
            raise ValueError("twenty")
        return b"%d" % doubled
    finally:
        ended.append("ended")


@pytest.mark.parametrize(
    ("how", "factor", "answer"),
    [("now", 1, b"10"), ("later", 1, b"10"), ("away", 1, b"without"), ("now", -1, b"failed"), ("later", -1, b"failed")],
)
def test_both_ways_come_to_the_same_end(loaded: LoadedModel, how: str, factor: int, answer: bytes) -> None:
    async def run() -> None:
        batcher, ended, told = Batcher(Metrics(CollectorRegistry()), 8), list[str](), Told()
        assert await waited(steps(loaded, ended, factor), Store(how), batcher) == answer
        abandon = begun(steps(loaded, ended, factor), Store(how), batcher, told)
        assert (abandon is None) == (how == "later")
        while abandon is not None and not told.heard:  # noqa: ASYNC110 - whoever is told tells nobody
            await asyncio.sleep(0.001)
        assert told.heard == ([] if abandon is None else [answer])
        assert ended == ["ended", "ended"]
        batcher.close()

    asyncio.run(run())


def test_what_it_raises_is_told(loaded: LoadedModel) -> None:
    async def run() -> None:
        batcher, told = Batcher(Metrics(CollectorRegistry()), 8), Told()
        with pytest.raises(ValueError, match="twenty"):
            await waited(steps(loaded, [], 2), Store("now"), batcher)
        begun(steps(loaded, [], 2), Store("now"), batcher, told)
        while not told.heard:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.001)
        assert [str(error) for error in told.heard] == ["twenty"]
        batcher.close()

    asyncio.run(run())


def test_what_nobody_waits_for_is_closed_at_once_and_told_nothing(loaded: LoadedModel) -> None:
    async def run() -> None:
        batcher, ended, told = Batcher(Metrics(CollectorRegistry()), 8), list[str](), Told()
        abandon = begun(steps(loaded, ended), Store("now"), batcher, told)
        other = Told()
        begun(steps(loaded, []), Store("now"), batcher, other)
        assert abandon is not None
        abandon()
        abandon()
        assert ended == ["ended"]
        while not other.heard:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.001)
        assert told.heard == []
        batcher.close()

    asyncio.run(run())
