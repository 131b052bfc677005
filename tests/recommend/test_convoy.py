"""Generators that go side by side come to the ends that they come to alone, and share what they ask for."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from protos.nearline.v1 import status_pb2
from serving.errors import ExpiredError, ModelError, OverloadedError, StoreUnavailableError
from serving.models.loaded import LoadedModel
from serving.models.pace import Pace
from serving.recommend.batcher import Batcher
from serving.recommend.convoy import begun_all
from serving.recommend.queue import Bounds, Waiting
from serving.recommend.steps import Run, Steps
from serving.store.port import Key
from serving.telemetry.metrics import Metrics
from tests.builders.bundles import load
from tests.recommend.test_steps import Store


class Doubling:
    """Work: twice each item; remembers how many calls each of its requests was, run by run."""

    alone = False

    def __init__(self) -> None:
        self.pace = Pace()
        self.runs: list[list[int]] = []

    def run(self, _loaded: LoadedModel, requests: Sequence[Waiting], _rows: int) -> list[Any]:
        self.runs.append([request.calls for request in requests])
        items = [request.item if request.calls > 1 else [request.item] for request in requests]
        if any(item < 0 for part in items for item in part):
            raise ModelError(status_pb2.LOAD, "negative")
        doubled = [[2 * item for item in part] for part in items]
        return [part if len(part) > 1 else part[0] for part in doubled]


class Reads(Store):
    """Counts how often it is asked."""

    def __init__(self, how: str = "now") -> None:
        super().__init__(how)
        self.reads: list[int] = []

    def read_now(self, keys: Sequence[Key]) -> list[bytes | None] | None:
        self.reads.append(len(keys))
        return super().read_now(keys)


class Told:
    """Who waits for all: the answer or error of each, and in how many parts they came."""

    def __init__(self, count: int) -> None:
        self.found: list[Any] = [None] * count
        self.parts = 0
        self.all = asyncio.Event()

    def give(self, found: Sequence[bytes | Exception | None]) -> None:
        self.parts += 1
        for at, one in enumerate(found):
            if one is not None:
                assert self.found[at] is None, "told twice"
                self.found[at] = one
        if None not in self.found:
            self.all.set()

    def said(self) -> list[str]:
        return [one.decode() if isinstance(one, bytes) else type(one).__name__ for one in self.found]


class Scene:
    """What all of them share."""

    def __init__(self, folder: Path, store: Reads, bounds: Bounds | None = None) -> None:
        self.loaded = load(folder, "m", 3)
        self.store = store
        self.work = Doubling()
        self.ended = 0
        self.registry = CollectorRegistry()
        self.batcher = Batcher(Metrics(self.registry), 8, bounds=bounds)

    def steps(self, factor: int, deadline: float | None = None, work: Doubling | None = None) -> Steps:
        """0: it needs nothing but a value. 1000: it fails at once."""
        try:
            if factor == 1000:
                raise ValueError("at once")
            try:
                (value,) = yield [Key(0, b"s", b"%d" % factor)]
            except StoreUnavailableError:
                return b"without"
            if not factor:
                return b"none"
            try:
                item = factor * int(value or 0)
                doubled = yield Run(self.loaded, work or self.work, item, 1, deadline)
            except ModelError:
                (value,) = yield [Key(0, b"s", b"again")]
                return b"failed"
            except OverloadedError:
                return b"shed"
            return b"%d" % doubled
        finally:
            self.ended += 1

    def begin(self, all_steps: Sequence[Steps]) -> tuple[Told, Callable[[], None] | None]:
        told = Told(len(all_steps))
        return told, begun_all(all_steps, self.store, self.batcher, told)


@pytest.mark.parametrize(
    ("factors", "said", "reads", "runs"),
    [
        ((1, 2, 3), ["10", "20", "30"], [3], [[3]]),
        ((1, 0, 1000, 2), ["10", "none", "ValueError", "20"], [3], [[2]]),
        ((0, 1000), ["none", "ValueError"], [1], []),
        ((0, 1), ["none", "10"], [2], [[1]]),
        ((1, -1, 2), ["10", "failed", "20"], [3, 1], [[3], [1, 1, 1], [1, 1], [1]]),
    ],
)
def test_each_comes_to_its_own_end(
    factors: Sequence[int], said: list[str], reads: list[int], runs: list[list[int]], tmp_path: Path
) -> None:
    async def run() -> None:
        scene = Scene(tmp_path, Reads())
        told, abandon = scene.begin([scene.steps(factor) for factor in factors])
        assert abandon is not None
        await told.all.wait()
        assert told.said() == said
        assert scene.store.reads == reads
        assert {tuple(calls) for calls in scene.work.runs} == {tuple(calls) for calls in runs}  # failed ones come again
        assert scene.ended == len(factors)
        scene.batcher.close()

    asyncio.run(run())


def test_what_is_there_at_once_does_not_wait_for_a_run_nor_one_version_for_another(tmp_path: Path) -> None:
    async def run() -> None:
        scene = Scene(tmp_path, Reads())
        told, _ = scene.begin([scene.steps(0), scene.steps(1), scene.steps(2, work=Doubling())])
        assert told.said()[0] == "none"
        await told.all.wait()
        assert told.said() == ["none", "10", "20"]
        assert told.parts == 3
        scene.batcher.close()

    asyncio.run(run())


def test_a_store_that_is_away_is_away_for_all(tmp_path: Path) -> None:
    async def run() -> None:
        scene = Scene(tmp_path, Reads("away"))
        told, _ = scene.begin([scene.steps(1), scene.steps(2)])
        assert told.said() == ["without", "without"]
        scene.batcher.close()

    asyncio.run(run())


def test_where_the_store_has_to_be_waited_for_nothing_is_begun(tmp_path: Path) -> None:
    async def run() -> None:
        scene = Scene(tmp_path, Reads("later"))
        told, abandon = scene.begin([scene.steps(1), scene.steps(1000)])
        assert abandon is None
        assert told.parts == 0
        assert scene.ended == 2
        scene.batcher.close()

    asyncio.run(run())


def test_what_nobody_waits_for_is_closed_and_told_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        scene = Scene(tmp_path, Reads())
        told, abandon = scene.begin([scene.steps(1), scene.steps(2)])
        other, _ = scene.begin([scene.steps(1)])
        assert abandon is not None
        abandon()
        abandon()
        assert scene.ended == 2
        await other.all.wait()
        assert told.parts == 0
        scene.batcher.close()

    asyncio.run(run())


def test_where_there_is_room_for_some_those_are_let_in(tmp_path: Path) -> None:
    async def run() -> None:
        scene = Scene(tmp_path, Reads(), Bounds(rows=3))
        first, _ = scene.begin([scene.steps(1), scene.steps(1)])
        told, _ = scene.begin([scene.steps(1), scene.steps(2)])
        await told.all.wait()
        assert told.said() == ["10", "shed"]
        await first.all.wait()
        refused = {"model": "m", "reason": "overload"}
        assert scene.registry.get_sample_value("nearline_online_refused_total", refused) == 1
        scene.batcher.close()

    asyncio.run(run())


class Failing(Reads):
    """Its second read is a defect."""

    def read_now(self, keys: Sequence[Key]) -> list[bytes | None] | None:
        if self.reads:
            raise RuntimeError("defect")
        return super().read_now(keys)


def test_a_defect_after_a_run_is_told_to_all_that_wait(tmp_path: Path) -> None:
    async def run() -> None:
        scene = Scene(tmp_path, Failing())
        told, _ = scene.begin([scene.steps(0), scene.steps(-1), scene.steps(-2)])
        await told.all.wait()
        assert told.said() == ["none", "RuntimeError", "RuntimeError"]
        assert scene.ended == 3
        scene.batcher.close()

    asyncio.run(run())


def test_a_defect_of_who_is_told_is_logged(tmp_path: Path) -> None:
    class Refusing(Told):
        def give(self, found: Sequence[bytes | Exception | None]) -> None:
            super().give(found)
            raise RuntimeError("cannot take it")

    async def run() -> None:
        scene, told = Scene(tmp_path, Reads()), Refusing(2)
        begun_all([scene.steps(1), scene.steps(2)], scene.store, scene.batcher, told)
        await told.all.wait()
        await asyncio.sleep(0)
        scene.batcher.close()

    with capture_logs() as logged:
        asyncio.run(run())
    assert [line["event"] for line in logged if line["log_level"] == "error"] == ["online.defect"]


def test_no_more_rows_wait_as_one_than_one_run_takes(tmp_path: Path) -> None:
    async def run() -> None:
        scene = Scene(tmp_path, Reads())
        told, _ = scene.begin([scene.steps(1) for _ in range(20)])
        await told.all.wait()
        assert sorted(sum(calls) for calls in scene.work.runs) == [4, 8, 8]
        scene.batcher.close()

    asyncio.run(run())


def test_what_has_expired_is_told_so(tmp_path: Path) -> None:
    async def run() -> None:
        scene = Scene(tmp_path, Reads())
        told, _ = scene.begin([scene.steps(1, 0.0), scene.steps(2, 0.0)])
        await told.all.wait()
        assert {type(error) for error in told.found} == {ExpiredError}
        scene.batcher.close()

    asyncio.run(run())


def test_work_whose_requests_cannot_share_a_run_gets_them_one_by_one(tmp_path: Path) -> None:
    async def run() -> None:
        scene = Scene(tmp_path, Reads())
        scene.work.alone = True
        told, _ = scene.begin([scene.steps(1), scene.steps(2)])
        await told.all.wait()
        assert told.said() == ["10", "20"]
        assert scene.work.runs == [[1], [1]]
        scene.batcher.close()

    asyncio.run(run())
