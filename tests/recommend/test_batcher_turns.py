"""Where runs happen, whose turn it is, and what is refused."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from serving.errors import ExpiredError, ModelError, OverloadedError
from serving.models.loaded import LoadedModel
from serving.recommend.queue import Bounds, Waiting
from tests.builders.bundles import load
from tests.builders.graphs import doubler
from tests.builders.waiting import wait_until
from tests.recommend.bench import Bench, Failing, Miscounting, Noted, bench, gather, values
from tests.recommend.sessions import held, x


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load(tmp_path_factory.mktemp("bundle"), graph=doubler())


def test_a_run_that_was_short_happens_on_the_loop_and_a_long_one_in_a_thread(model: LoadedModel) -> None:
    where: list[str] = []

    async def scene(b: Bench) -> None:
        work = Noted(where)
        for _ in range(2):
            await b.batcher.submit(model, work, 1)
        assert [name.startswith("online") for name in where] == [True, False], "the first is to be measured"
        work.pace.observe(64, 10.0)
        await b.batcher.submit(model, work, 1)
        assert where[-1].startswith("online")

    with bench() as b:
        asyncio.run(scene(b))


def test_without_a_share_of_the_loop_every_run_has_a_thread(model: LoadedModel) -> None:
    where: list[str] = []

    async def scene(b: Bench) -> None:
        work = Noted(where)
        for _ in range(3):
            await b.batcher.submit(model, work, 1)

    with bench(inline_s=0) as b:
        asyncio.run(scene(b))
    assert all(name.startswith("online") for name in where)


@pytest.mark.parametrize(
    ("row_s", "asked", "most", "here"),
    [(40e-6, 60, 60, True), (100e-6, 60, 30, True), (250e-6, 60, 60, False), (100e-6, 15, 15, False)],
    ids=["all of them are", "some are", "too few are", "there are too few"],
)
def test_as_many_rows_run_at_once_as_are_short_enough_for_the_loop_if_that_is_worth_a_run(
    model: LoadedModel, row_s: float, asked: int, most: int, *, here: bool
) -> None:
    where: list[str] = []
    rows: list[int] = []

    class Counted(Noted):
        def run(self, loaded: LoadedModel, requests: Sequence[Waiting], count: int) -> list[Any]:
            rows.append(count)
            return super().run(loaded, requests, count)

    async def scene(b: Bench) -> None:
        work = Counted(where)
        for count in (1, 100):
            work.pace.observe(count, count * row_s)
        await asyncio.gather(*(b.batcher.submit(model, work, n) for n in range(asked)))

    with bench() as b:
        asyncio.run(scene(b))
    assert (rows[0], sum(rows)) == (most, asked)
    assert where[0].startswith("online") is not here


def test_a_slow_model_holds_up_neither_another_nor_the_loop(model: LoadedModel, tmp_path: Path) -> None:
    slow, session = held(model)
    quick = load(tmp_path, "quick", 1, doubler())

    async def scene(b: Bench) -> None:
        floods = [asyncio.create_task(b.run(slow, x(n), ["y"])) for n in range(200)]
        await session.wait_run()
        assert values(await b.run(quick, x(3), ["y"])) == [6]
        assert session.runs == [1], "one run of it at a time"
        session.gate.set()
        await asyncio.gather(*floods)

    with bench(max_rows=1) as b:
        asyncio.run(scene(b))


def test_versions_take_turns(tmp_path: Path) -> None:
    one, other = (load(tmp_path / str(n), "m", n, doubler()) for n in (1, 2))
    order: list[str] = []

    async def scene(b: Bench) -> None:
        works = {loaded: Noted(order, name=str(loaded.version)) for loaded in (one, other)}
        for loaded, work in works.items():
            await b.batcher.submit(loaded, work, 0)
        order.clear()
        flood = [b.batcher.submit(one, works[one], n) for n in range(6)]
        await asyncio.gather(*flood, *(b.batcher.submit(other, works[other], n) for n in range(2)))

    with bench(max_rows=1) as b:
        asyncio.run(scene(b))
    assert order[:4] == ["1", "2", "1", "2"]


def test_what_would_wait_for_too_long_is_refused_at_once(model: LoadedModel) -> None:
    slow, session = held(model)

    async def scene(b: Bench) -> None:
        work = b.work(slow)
        first = asyncio.create_task(b.run(slow, x(1), ["y"]))
        await session.wait_run()
        work.pace.observe(1, 0.5)
        second = asyncio.create_task(b.run(slow, x(2), ["y"]))
        await asyncio.sleep(0)
        for deadline in (time.monotonic() + 0.9, time.monotonic() - 1):
            with pytest.raises(OverloadedError, match=r"^model 'm' version 1: expected an answer within"):
                await b.run(slow, x(3), ["y"], deadline=deadline)
        with pytest.raises(OverloadedError, match=r"^model 'm' version 1: expected an answer within 1.50 s"):
            await b.run(slow, x(3, 4, 5), ["y"])
        third = asyncio.create_task(b.run(slow, x(3), ["y"], deadline=time.monotonic() + 60))
        await asyncio.sleep(0)
        session.gate.set()
        assert [values(found) for found in await asyncio.gather(first, second, third)] == [[2], [4], [6]]
        assert b.refused("overload") == 3

    with bench(bounds=Bounds(wait_s=1.5)) as b:
        asyncio.run(scene(b))


def test_what_is_refused_for_its_own_size_says_nothing_of_smaller_ones(model: LoadedModel) -> None:
    slow, session = held(model)

    async def scene(b: Bench) -> None:
        work = b.work(slow)
        first = asyncio.create_task(b.run(slow, x(1), ["y"]))
        await session.wait_run()
        work.pace.observe(1, 1.0)
        with pytest.raises(OverloadedError) as caught:
            await b.run(slow, x(*range(100)), ["y"])
        assert caught.value.wait_s < 5.0, "what is told at the door is the wait of one row"
        session.gate.set()
        await first

    with bench(bounds=Bounds(wait_s=5.0)) as b:
        asyncio.run(scene(b))


class Core:
    """A core's time, instead of the module `time`: it passes when somebody says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.monotonic = time.monotonic
        self.perf_counter = time.perf_counter

    def thread_time(self) -> float:
        return self.now


class Working(Noted):
    """Runs of one request each, of half a millisecond of a core."""

    def __init__(self, core: Core) -> None:
        super().__init__([])
        self.pace.observe(1, 0.0005)
        self.alone = True
        self.done = 0
        self._core = core

    def run(self, loaded: LoadedModel, requests: Sequence[Waiting], rows: int) -> list[Any]:
        self._core.now += 0.0005
        self.done += 1
        return super().run(loaded, requests, rows)


@pytest.mark.parametrize(("read_s", "run_s"), [(0.0, 0.1 / 16), (0.01, 0.03), (1.0, 0.05)])
def test_the_longer_the_loop_took_to_read_the_longer_it_runs_before_it_reads_again(
    model: LoadedModel, monkeypatch: pytest.MonkeyPatch, read_s: float, run_s: float
) -> None:
    core = Core()
    monkeypatch.setattr("serving.recommend.batcher.time", core)

    async def scene(b: Bench) -> None:
        work = Working(core)
        answers = [b.batcher.submit(model, work, number) for number in range(200)]
        core.now += read_s
        await asyncio.sleep(0)
        assert work.done * 0.0005 == pytest.approx(run_s, abs=0.0011)
        assert await asyncio.gather(*answers) == list(range(200))

    with bench(bounds=Bounds(wait_s=600.0)) as b:
        asyncio.run(scene(b))


def test_whether_a_version_has_too_much_to_do_is_seen_without_asking_it(model: LoadedModel, tmp_path: Path) -> None:
    slow, session = held(model)
    other = load(tmp_path, "other", 1, doubler())

    async def scene(b: Bench) -> None:
        assert not b.batcher.full(slow, 0.0), "nothing waits"
        work = b.work(slow)
        first = asyncio.create_task(b.run(slow, x(1), ["y"]))
        await session.wait_run()
        work.pace.observe(1, 2.0)
        second = asyncio.create_task(b.run(slow, x(2), ["y"], deadline=time.monotonic() + 60))
        await asyncio.sleep(0)
        assert b.batcher.full(slow, 1.9)
        assert not b.batcher.full(slow, 600.0)
        assert not b.batcher.full(other, 0.0), "of another version"
        b.batcher._backlog.late_s = 600.0
        assert b.batcher.full(slow, 600.0), "the loop would come to it too late"
        assert b.batcher.full(slow, None), "later than anybody waits"
        session.gate.set()
        await asyncio.gather(first, second)
        assert not b.batcher.full(slow, 0.0)

    with bench(bounds=Bounds(wait_s=1200.0)) as b:
        asyncio.run(scene(b))


@pytest.mark.parametrize(
    ("bounds", "words"),
    [(Bounds(rows=2), "at most 2 rows waiting, got 3"), (Bounds(size=16), "at most 16 bytes waiting, got 24")],
)
def test_a_bounded_number_of_rows_and_bytes_waits(model: LoadedModel, bounds: Bounds, words: str) -> None:
    slow, session = held(model)

    async def scene(b: Bench) -> None:
        tasks = [asyncio.create_task(b.run(slow, x(1), ["y"]))]
        await session.wait_run()
        tasks += [asyncio.create_task(b.run(slow, x(n), ["y"], size=8)) for n in (2, 3)]
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError, match=words):
            await b.run(slow, x(4), ["y"], size=8)
        session.gate.set()
        assert [values(found) for found in await asyncio.gather(*tasks)] == [[2], [4], [6]]

    with bench(bounds=bounds) as b:
        asyncio.run(scene(b))


def test_what_is_larger_than_all_that_may_wait_still_runs_when_nothing_does(model: LoadedModel) -> None:
    with bench(bounds=Bounds(rows=2)) as b:
        (found,) = gather(b.run(model, x(1, 2, 3), ["y"]))
        assert values(found) == [2, 4, 6]


def test_what_is_past_its_deadline_when_its_turn_comes_is_not_run(model: LoadedModel) -> None:
    slow, session = held(model)

    async def scene(b: Bench) -> None:
        first = asyncio.create_task(b.run(slow, x(1), ["y"]))
        await session.wait_run()
        soon = time.monotonic() + 0.01
        late = asyncio.create_task(b.run(slow, x(2), ["y"], deadline=soon))
        await asyncio.sleep(0)
        await asyncio.to_thread(wait_until, lambda: time.monotonic() > soon, "the deadline")
        session.gate.set()
        await first
        with pytest.raises(ExpiredError):
            await late
        assert b.refused("deadline") == 1

    with bench() as b:
        asyncio.run(scene(b))
    assert session.runs == [1]


def test_a_model_that_always_fails_is_not_tried_for_each_row(model: LoadedModel) -> None:
    failing = Failing()

    async def scene(b: Bench) -> list[Any]:
        answers = [b.batcher.submit(model, failing, n) for n in range(64)]
        return await asyncio.gather(*answers, return_exceptions=True)

    with bench() as b:
        found = asyncio.run(scene(b))
    assert {type(error) for error in found} == {ModelError}
    assert failing.runs <= 33


@pytest.mark.parametrize("more", [-1, 1])
@pytest.mark.parametrize("inline_s", [0.0, 1.0], ids=["in a thread", "on the loop"])
def test_work_with_another_number_of_results_is_an_error_for_all_and_the_queue_goes_on(
    model: LoadedModel, more: int, inline_s: float
) -> None:
    work = Miscounting(more)
    work.pace.observe(1, 0.0)

    async def scene(b: Bench) -> list[Any]:
        for requests in (1, 2):
            answers = [b.batcher.submit(model, work, n) for n in range(requests)]
            found = await asyncio.gather(*answers, return_exceptions=True)
            assert {type(error) for error in found} == {RuntimeError}
        work.mended = True
        return await asyncio.gather(*(b.batcher.submit(model, work, n) for n in range(3)))

    with bench(inline_s=inline_s) as b:
        assert asyncio.run(scene(b)) == [0, 1, 2]


def test_the_work_of_other_versions_counts_for_a_deadline(model: LoadedModel, tmp_path: Path) -> None:
    slow, session = held(model)
    quick, quick_session = held(load(tmp_path, "quick", 1, doubler()))

    async def scene(b: Bench) -> None:
        b.work(slow).pace.observe(1, 5.0)
        b.work(quick).pace.observe(1, 0.5)
        tasks = [asyncio.create_task(b.run(one, x(1), ["y"])) for one in (slow, quick)]
        await session.wait_run()
        await quick_session.wait_run()
        # Of its own: the run and this one, 1 s. So the slow version's turns take as long again.
        with pytest.raises(OverloadedError, match=r"^model 'quick' version 1: .* got a queue of 2.00 s"):
            await b.run(quick, x(2), ["y"], deadline=time.monotonic() + 1.9)
        tasks.append(asyncio.create_task(b.run(quick, x(2), ["y"], deadline=time.monotonic() + 600)))
        await asyncio.sleep(0)
        session.gate.set()
        quick_session.gate.set()
        assert [values(found) for found in await asyncio.gather(*tasks)] == [[2], [2], [4]]

    with bench(bounds=Bounds(wait_s=60)) as b:
        asyncio.run(scene(b))


def test_a_thread_gets_several_runs_when_the_loop_would_come_late_for_the_next(model: LoadedModel) -> None:
    slow, session = held(model)

    async def scene(b: Bench) -> None:
        b.work(slow).pace.observe(1, 0.1)
        first = asyncio.create_task(b.run(slow, x(0), ["y"]))
        await session.wait_run()
        rest = [asyncio.create_task(b.run(slow, x(n), ["y"])) for n in (1, 2, 3)]
        await asyncio.sleep(0)
        b.batcher._backlog.late_s = 0.15
        session.gate.set()
        assert [values(found) for found in await asyncio.gather(first, *rest)] == [[0], [2], [4], [6]]

    with bench(max_rows=1, inline_s=0, bounds=Bounds(wait_s=60)) as b:
        asyncio.run(scene(b))
    assert session.runs == [1, 1, 1, 1]
