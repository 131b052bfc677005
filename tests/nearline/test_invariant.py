"""Whatever happens, in whatever order: what is stored of a version is what it says of the state now, or is due."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protos.commands import Erase, Recompute
from protos.records import MILLION, Share
from serving.models.loaded import LoadedModel
from tests.builders.folders import quick_folder
from tests.builders.nearline import Rig, rig
from tests.builders.truth import check, check_drained
from tests.store.stores import Store

ENTITIES = [f"e{number}" for number in range(6)]
ENTITY = st.sampled_from(ENTITIES)
VERSION = st.sampled_from([1, 2, 3])
SHARES = st.dictionaries(VERSION, st.integers(0, MILLION), min_size=1)

EVENT = st.tuples(
    st.just("event"), ENTITY, st.integers(0, 19), st.sampled_from([0, 1, 2, 500, 4_000_000]), st.sampled_from("ab")
)
ACT = st.one_of(
    EVENT,
    EVENT,
    EVENT,
    st.tuples(st.just("step")),
    st.tuples(st.just("settle")),
    st.tuples(st.just("shares"), SHARES),
    st.tuples(st.just("slow"), VERSION),
    st.tuples(st.just("fast")),
    st.tuples(st.just("erase"), ENTITY),
    st.tuples(st.just("recompute"), ENTITY, VERSION),
    st.tuples(st.just("anew")),
    st.tuples(st.just("back"), ENTITY),
    st.tuples(st.just("forget")),
)


class Schedule:
    """Does what it is told, to versions 1, 2 and 3 of a model."""

    def __init__(self, r: Rig, models: list[LoadedModel]) -> None:
        self.r = r
        self.versions = {loaded.version: loaded for loaded in models}
        self.live: list[LoadedModel] = []
        self.clock = 10_000_000
        self.shares({1: MILLION})

    def shares(self, weights: Mapping[int, int]) -> None:
        total = sum(weights.values())
        scaled = {version: weight * MILLION // max(1, total) for version, weight in weights.items()}
        last = list(scaled)[-1]
        scaled[last] += MILLION - sum(scaled.values())
        self.live = [self.versions[version] for version in scaled]
        self.r.put("m", tuple(Share(v, w) for v, w in scaled.items()), *self.live)

    def event(self, entity: str, row: int, before: int, kind: str) -> None:
        self.clock += 1
        self.r.happen(entity, f"item-{row}", self.clock - before, kind=kind)

    def step(self) -> None:
        self.r.step(5)

    def settle(self) -> None:
        self.r.settle()

    def slow(self, version: int) -> None:
        self.r.slow(self.versions[version])

    def fast(self) -> None:
        self.r.made.costs.forget(set())

    def erase(self, entity: str) -> None:
        self.r.order(Erase(entity.encode()).encode())

    def recompute(self, entity: str, version: int) -> None:
        self.r.order(Recompute(entity.encode(), "m", version).encode())

    def anew(self) -> None:
        self.r.anew()

    def back(self, entity: str) -> None:
        self.r.back(entity)

    def forget(self) -> None:
        self.r.made.forgetting._next_at = 0.0


def run(store: Store, models: list[LoadedModel], acts: list[tuple[Any, ...]]) -> None:
    """AssertionError as soon as the store says what it should not."""
    with rig(store) as r:
        schedule = Schedule(r, models)
        for name, *arguments in acts:
            getattr(schedule, name)(*arguments)
            check(r, models)
        r.settle()
        check(r, models)
        check_drained(r, schedule.live)


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(acts=st.lists(ACT, max_size=30))
def test_what_is_stored_is_what_a_version_says_now_or_is_due(
    model: LoadedModel, second: LoadedModel, bad: LoadedModel, acts: list[tuple[Any, ...]]
) -> None:
    with quick_folder() as folder:
        run(Store("lmdb", folder, "t"), [model, second, bad], acts)


@pytest.mark.redis
@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])
@given(acts=st.lists(ACT, max_size=30))
def test_and_so_it_is_over_redis(
    redis_url: str, model: LoadedModel, second: LoadedModel, bad: LoadedModel, acts: list[tuple[Any, ...]]
) -> None:
    with quick_folder() as folder:
        run(Store(redis_url, folder, f"{folder.name}."), [model, second, bad], acts)
