"""A new version takes over `Recommend` when its predictions are there: near-line and serving workers alike."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos.nearline.v1 import status_pb2
from protos.records import MILLION, Announced, Share
from serving.bundles.nearline import NearlineSettings
from serving.bundles.session import ModelSession
from serving.models import switching
from serving.models.admission import MakeRoom, no_room
from serving.models.deployer import Deployer
from serving.models.instance import Identity
from serving.models.lifecycle import State
from serving.models.loaded import LoadedModel
from serving.models.loader import Loader
from serving.models.places import key_of
from serving.models.policy import audience
from serving.models.switching import Fill, Switch, may_switch
from serving.models.table import ActiveModel, ActiveTable
from serving.nearline.fill_record import FillRecord, together
from serving.nearline.fills import FillView
from serving.nearline.watching import FillWatcher
from tests.builders.bundles import again
from tests.builders.ledger import announcement, folded, rollout
from tests.builders.nearline import SHARDS, Rig, rig
from tests.builders.truth import check_drained
from tests.builders.waiting import DEADLINE_S
from tests.models.stage import NOT_SOON, STEPS
from tests.recommend.sessions import HeldSession
from tests.store.stores import Store

ENTITIES = [f"e{number}" for number in range(20)]
WHOLE = (0, MILLION)


class Given(Loader):
    """Loads what is there already."""

    def __init__(self, models: Iterable[LoadedModel]) -> None:
        self._models = {loaded.version: loaded for loaded in models}

    def load(
        self,
        model: str,
        announced: Announced,
        retrial: int,
        enter: Callable[[State], None],
        wanted: Callable[[], bool],
        make_room: MakeRoom = no_room,
    ) -> LoadedModel:
        del model, retrial, wanted, make_room
        for state in STEPS:
            enter(state)
        loaded = self._models[announced.version]
        # Whoever unloads it closes its session.
        session = loaded.session
        if isinstance(session, ModelSession):
            session = ModelSession.open(loaded.bundle.folder)
        return LoadedModel.of("m", announced.version, loaded.digest, loaded.bundle, session)


class Node:
    """A near-line worker, stepped by hand, and a serving worker, each with a deployer of its own."""

    def __init__(self, r: Rig, store: Store, models: list[LoadedModel]) -> None:
        self.r = r
        self.serving = ActiveTable()
        view = FillView(lambda: SHARDS)
        self.deployers = [_deployer(models, r.made.table, r.made.view), _deployer(models, self.serving, view)]
        self.reader = store.reader()
        self.watcher = FillWatcher(view, self.serving, self.reader, self.deployers[1].refilled)

    def say(self, *entries: tuple[bytes, bytes]) -> None:
        world, _ = folded(*entries)
        for deployer in self.deployers:
            deployer.follow({"m": world.models["m"].snapshot()}, {"m": []})

    def tables(self) -> list[tuple[list[int], list[int]]]:
        """Of each worker: the versions of `ModelInfer`, and those of `Recommend`."""
        found = []
        for table in (self.r.made.table, self.serving):
            active = table.current.get("m")
            shares = (active.shares, active.recommend) if active else ((), ())
            found.append(([s.version for s in shares[0]], [s.version for s in shares[1]]))
        return found

    async def wait(self, condition: Callable[[], object]) -> None:
        """Step until it holds."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                self.step()
                await asyncio.sleep(0.005)

    async def wait_tables(self, infer: list[int], recommend: list[int]) -> None:
        await self.wait(lambda: self.tables() == [(infer, recommend)] * 2)

    def step(self) -> None:
        self.r.step()
        self.r.consumer._tell()
        for name in self.r.made.refilled:
            self.deployers[0].refilled(name)
        self.r.made.refilled.clear()


def _deployer(models: list[LoadedModel], table: ActiveTable, view: FillView) -> Deployer:
    return Deployer(
        Identity("n", "w0", status_pb2.SERVING, "i"),
        lambda _record: [audience({})],
        Given(models),
        table,
        lambda _status, _entered: None,
        NOT_SOON,
        Switch(view).filled,
        view.imported,
    )


@asynccontextmanager
async def node(r: Rig, store: Store, models: list[LoadedModel]) -> AsyncIterator[Node]:
    made = Node(r, store, models)
    for deployer in made.deployers:
        deployer.start()
    made.watcher.start()
    try:
        yield made
    finally:
        await made.watcher.stop()
        for deployer in made.deployers:
            deployer.stop()
        await made.reader.close()


def gated(loaded: LoadedModel, **settings: Any) -> tuple[LoadedModel, HeldSession]:
    """The same version behind a gate, with other settings."""
    session = HeldSession(ModelSession.open(loaded.bundle.folder))
    return again(loaded, "m", loaded.version, session=cast("ModelSession", session), **settings), session


V1, V2 = announcement("m", 1), announcement("m", 2)


def test_a_version_takes_over_on_all_workers_once_it_is_filled(
    store: Store, model: LoadedModel, second: LoadedModel
) -> None:
    new, session = gated(second)

    async def scene(r: Rig) -> None:
        async with node(r, store, [model, new]) as n:
            n.say(V1)
            await n.wait_tables([1], [1])
            for entity in ENTITIES:
                r.happen(entity, "item-1")
            await n.wait(lambda: all(r.items(model, entity) for entity in ENTITIES))
            r.slow(new)
            n.say(V1, V2)
            await n.wait_tables([2], [1])
            await n.wait(lambda: session.runs)
            assert n.tables() == [([2], [1])] * 2
            session.gate.set()
            await n.wait_tables([2], [2])
            assert all(r.items(new, entity) for entity in ENTITIES)

    with rig(store) as r:
        try:
            asyncio.run(scene(r))
        finally:
            session.gate.set()


def test_after_a_maximum_wait_it_takes_over_without(
    store: Store, model: LoadedModel, second: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, session = gated(second, switch_wait=1)
    now_ns = time.time_ns()
    monkeypatch.setattr(switching, "time", SimpleNamespace(time_ns=lambda: now_ns))

    def switched_later(n: Node) -> Callable[[], bool]:
        """Whether both have, while time passes from look to look."""

        def look() -> bool:
            nonlocal now_ns
            now_ns += 50_000_000
            return n.tables() == [([2], [2])] * 2

        return look

    async def scene(r: Rig) -> None:
        async with node(r, store, [model, new]) as n:
            n.say(V1)
            r.happen("a", "item-1")
            await n.wait_tables([1], [1])
            await n.wait(lambda: r.items(model, "a"))
            r.slow(new)
            n.say(V1, V2)
            await n.wait_tables([2], [1])
            await n.wait(switched_later(n))
            assert r.items(new, "a") is None

    with rig(store) as r:
        try:
            asyncio.run(scene(r))
        finally:
            session.gate.set()


def test_by_choice_it_takes_over_when_it_is_loaded(store: Store, model: LoadedModel, second: LoadedModel) -> None:
    new, session = gated(second, switch="on-load")

    async def scene(r: Rig) -> None:
        async with node(r, store, [model, new]) as n:
            n.say(V1)
            await n.wait_tables([1], [1])
            r.slow(new)
            n.say(V1, V2)
            await n.wait_tables([2], [2])

    with rig(store) as r:
        try:
            asyncio.run(scene(r))
        finally:
            session.gate.set()


def test_the_way_back_is_instant_since_the_former_predictions_are_there(
    store: Store, model: LoadedModel, second: LoadedModel
) -> None:
    async def scene(r: Rig) -> None:
        async with node(r, store, [model, second]) as n:
            n.say(V1)
            for entity in ENTITIES:
                r.happen(entity, "item-1")
            await n.wait_tables([1], [1])
            await n.wait(lambda: all(r.items(model, entity) for entity in ENTITIES))
            n.say(V1, V2)
            await n.wait_tables([2], [2])
            before = r.made.counted("predictions")
            n.say(V1, V2, rollout("m", 1, {1: MILLION}))
            await n.wait_tables([1], [1])
            assert r.made.counted("predictions") == before
            r.settle()
            check_drained(r, [model])

    with rig(store) as r:
        asyncio.run(scene(r))


SETTINGS = st.builds(
    NearlineSettings,
    switch=st.sampled_from(["on-backfill", "on-load"]),
    switch_percent=st.floats(1, 100),
    switch_wait=st.integers(1, 600),
)
FILLS = st.builds(Fill, st.booleans(), st.integers(0, 100), st.integers(0, 100), st.integers(0, 10_000))


@given(SETTINGS, st.none() | FILLS, st.integers(0, 10_000), st.integers(0, 1_000_000), st.integers(0, 1_000_000))
def test_once_it_may_take_over_it_may_later(
    settings: NearlineSettings, fill: Fill | None, ready_ms: int, now_ms: int, more_ms: int
) -> None:
    if may_switch(settings, fill, ready_ms, now_ms):
        assert may_switch(settings, fill, ready_ms, now_ms + more_ms)


def test_what_decides_is_how_many_of_the_active_have_a_prediction() -> None:
    settings = NearlineSettings(switch_percent=90, switch_wait=60)
    for fill, expected in (
        (None, False),
        (Fill(False, 10, 0, 0), False),
        (Fill(True, 10, 2, 0), False),
        (Fill(True, 10, 1, 0), True),
        (Fill(True, 0, 0, 0), True),
        (Fill(True, 10, 50, 0), False),
    ):
        assert may_switch(settings, fill, 0, 59_999) is expected
        assert may_switch(settings, fill, 0, 60_000)


RECORD = FillRecord(claims=(WHOLE,), known=True, total=5, left=2, began_ms=7, scheduled_ms=8)


@given(
    st.builds(
        FillRecord,
        st.lists(st.tuples(st.integers(0, MILLION), st.integers(0, MILLION)), max_size=3).map(tuple),
        st.booleans(),
        *[st.integers(0, 1 << 50)] * 5,
    )
)
def test_a_record_comes_back_as_it_was(record: FillRecord) -> None:
    assert FillRecord.decode(record.encode()) == record


def test_records_of_all_shards_add_up_and_none_may_be_missing() -> None:
    assert together({}, 2, WHOLE) is None
    assert together({0: RECORD}, 2, WHOLE) == Fill(False, 5, 2, 7)
    assert together({0: RECORD, 1: RECORD}, 2, WHOLE) == Fill(True, 10, 4, 7)
    stopped = FillRecord((WHOLE,), known=True, total=5, left=0, began_ms=7, scheduled_ms=8, stopped_ms=9)
    assert together({0: RECORD, 1: stopped}, 2, WHOLE) == Fill(False, 5, 2, 7)
    part = FillRecord(((0, 1000),), known=True, total=1, left=0, began_ms=3, scheduled_ms=8)
    assert together({0: part, 1: part}, 2, WHOLE) is None
    assert together({0: part, 1: part}, 2, (0, 500)) == Fill(True, 2, 0, 3)


def test_only_models_that_wait_are_asked_for(model: LoadedModel, second: LoadedModel) -> None:
    table = ActiveTable()
    view = FillView(lambda: 2)
    shares = (Share(2, MILLION),)
    table.swap(ActiveModel("m", shares, shares, {2: second}))
    assert view.wanted(table) == {}
    table.swap(ActiveModel("m", shares, (Share(1, MILLION),), {1: model, 2: second}))
    (keys,) = view.wanted(table).values()
    assert [(key.key, key.shard) for key in keys] == [(key_of(v), shard) for v in (model, second) for shard in (0, 1)]
    view.learn(keys, [None, None, RECORD.encode(), None])
    assert view.of(second, WHOLE) == Fill(False, 5, 2, 7)
    assert view.of(model, WHOLE) is None
    assert (view.untouched(model), view.untouched(second)) == (True, False)


def test_where_nothing_was_ever_computed_near_line_there_is_nothing_to_wait_for(
    model: LoadedModel, second: LoadedModel
) -> None:
    view = FillView(lambda: 2)
    ready = {1: model, 2: second}
    table = ActiveTable()
    table.swap(ActiveModel("m", (Share(2, MILLION),), (Share(1, MILLION),), {1: model, 2: second}))
    switch = Switch(view)
    assert not switch.filled((Share(2, MILLION),), ready), "it has not been looked yet"
    (keys,) = view.wanted(table).values()
    view.learn(keys, [None] * 4)
    assert switch.filled((Share(2, MILLION),), ready)
    view.learn(keys, [RECORD.encode(), None, None, None])
    assert not switch.filled((Share(2, MILLION),), ready), "somebody computes the old one, and so will the new one"


def test_what_was_seen_once_is_not_believed_when_a_version_is_to_take_over_again(
    model: LoadedModel, second: LoadedModel
) -> None:
    table, view = ActiveTable(), FillView(lambda: 1)
    switch = Switch(view)
    waiting = ActiveModel("m", (Share(2, MILLION),), (Share(1, MILLION),), {1: model, 2: second})
    table.swap(waiting)
    (keys,) = view.wanted(table).values()
    full = FillRecord((WHOLE,), known=True, total=5, left=0, began_ms=7, scheduled_ms=7)
    view.learn(keys, [full.encode(), full.encode()])
    assert switch.filled((Share(2, MILLION),), {1: model, 2: second})
    table.swap(ActiveModel("m", (Share(1, MILLION),), (Share(1, MILLION),), {1: model}))
    assert view.wanted(table) == {}
    table.swap(waiting)
    assert not switch.filled((Share(2, MILLION),), {1: model, 2: second}), "its predictions may have holes by now"


def test_waiting_begins_anew_when_the_same_is_asked_for_again_later(
    model: LoadedModel, second: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    brief = again(second, version=2, switch_wait=60)
    table, view = ActiveTable(), FillView(lambda: 1)
    switch = Switch(view)
    table.swap(ActiveModel("m", (Share(2, MILLION),), (Share(1, MILLION),), {1: model, 2: brief}))
    (keys,) = view.wanted(table).values()
    view.learn(keys, [RECORD.encode(), None])
    now_s = 1_000
    monkeypatch.setattr(switching, "time", SimpleNamespace(time_ns=lambda: now_s * 1_000_000_000))
    asked = []
    for later_s in [*range(0, 59, 5), 62, 100, 105]:
        now_s = 1_000 + later_s
        asked.append(switch.filled((Share(2, MILLION),), {1: model, 2: brief}))
    assert asked == [False] * 12 + [True, False, False]
