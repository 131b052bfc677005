"""Answers for many entities at once: others get theirs in between, and an error leaves no work behind."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from protos.nearline.v1.recommender_pb2 import RecommendResponse
from serving.errors import InvalidRequestError, NotFoundError
from serving.models.table import ActiveTable
from serving.recommend.batcher import Batcher
from serving.recommend.misses import Misses
from serving.recommend.query import MAX_ENTITIES, Query
from serving.recommend.recommend import Recommender
from serving.store.port import Key, Slot
from serving.telemetry.metrics import Metrics
from tests.builders.bundles import load, serve
from tests.builders.buses import TOPICS, Connect


class Empty:
    """A store without entries; it has to be waited for where there is one that is `bad`, which fails."""

    def __init__(self, bad: bytes = b"") -> None:
        self.bad = bad
        self.read_keys: list[bytes] = []
        self.began = asyncio.Event()
        self.waiting = self.cancelled = 0

    def read_now(self, keys: Sequence[Key]) -> list[bytes | None] | None:
        self.read_keys += [key.key for key in keys]
        self.began.set()
        return None if self.bad else [None for _ in keys]

    def slot(self, key: Key) -> Slot:
        return Slot(key.key)

    def read_slots(self, slots: Sequence[Slot]) -> list[bytes | None] | None:
        return None if self.bad else [None for _ in slots]

    async def read(self, keys: Sequence[Key]) -> list[bytes | None]:
        if keys[0].key == self.bad:
            raise InvalidRequestError("key", "a good one", "a bad one")
        self.waiting += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.waiting -= 1
            self.cancelled += 1
        raise AssertionError

    async def close(self) -> None:
        """Holds nothing."""


def play(folder: Path, scene: Callable[[Recommender, Empty], Awaitable[None]], bad: bytes = b"") -> None:
    async def run() -> None:
        store, metrics, table = Empty(bad), Metrics(CollectorRegistry()), ActiveTable()
        model = load(folder / "m", "m", 3)
        serve(table, model)
        batcher = Batcher(metrics, 64)
        try:
            await scene(Recommender(table, store, batcher, Misses(Connect(folder), TOPICS), metrics, lambda: 4), store)
        finally:
            batcher.close()
        assert model._leases == 0

    asyncio.run(run())


def test_another_request_is_answered_while_one_asks_for_a_thousand_entities(tmp_path: Path) -> None:
    async def scene(recommender: Recommender, store: Empty) -> None:
        entities = [f"entity-{number}" for number in range(MAX_ENTITIES)]
        many = asyncio.create_task(recommender.recommend_all(Query("m"), entities))
        await store.began.wait()
        await recommender.recommend(Query("m"), "another")
        assert b"entity-999" not in store.read_keys
        assert len(await many) == MAX_ENTITIES
        assert b"entity-999" in store.read_keys

    play(tmp_path, scene)


def test_an_error_is_raised_as_it_is_and_gives_up_the_other_answers(tmp_path: Path) -> None:
    async def scene(recommender: Recommender, store: Empty) -> None:
        with pytest.raises(InvalidRequestError, match="a good one"):
            await recommender.recommend_all(Query("m"), ["a", "b", "bad", "c"])
        assert store.waiting == 0
        assert store.cancelled >= 2

    play(tmp_path, scene, b"bad")


class Heard:
    """Who waits for several answers."""

    def __init__(self) -> None:
        self.found: Sequence[bytes | Exception | None] = ()

    def give(self, found: Sequence[bytes | Exception | None]) -> None:
        assert not self.found, "all of them end at the same time"
        self.found = found


def test_those_that_are_begun_together_get_what_each_would_get_by_itself(tmp_path: Path) -> None:
    async def scene(recommender: Recommender, _store: Empty) -> None:
        asked = [(Query("m"), "a"), (Query("m", k=1), "b"), (Query("m", exclude=frozenset({"v3-1"})), "c")]
        wrong = [(Query(""), "a"), (Query("other"), "a"), (Query("m"), "")]
        heard = Heard()
        assert recommender.begin_all([*asked, *wrong], None, heard) is not None
        answers = [RecommendResponse.FromString(one) for one in heard.found if isinstance(one, bytes)]
        alone = [RecommendResponse.FromString(await recommender.recommend(*one)) for one in asked]
        for answer in (*answers, *alone):
            answer.computed_at_ms = 0
        assert answers == alone
        assert len(alone[1].item_ids) == 1
        errors = [type(one) for one in heard.found if isinstance(one, Exception)]
        assert errors == [InvalidRequestError, NotFoundError, InvalidRequestError]

    play(tmp_path, scene)


def test_where_the_store_has_to_be_waited_for_none_is_begun(tmp_path: Path) -> None:
    async def scene(recommender: Recommender, store: Empty) -> None:
        for _ in range(2):
            heard = Heard()
            assert recommender.begin_all([(Query("m"), "a"), (Query("m"), "b")], None, heard) is None
            assert heard.found == ()
        assert len(store.read_keys) == 2, "once was enough to know"

    play(tmp_path, scene, b"bad")


def test_all_ids_are_looked_at_before_anything_is_done(tmp_path: Path) -> None:
    async def scene(recommender: Recommender, store: Empty) -> None:
        with pytest.raises(InvalidRequestError, match="entity_id"):
            await recommender.recommend_all(Query("m"), ["a"] * 500 + [""])
        assert store.read_keys == []

    play(tmp_path, scene)
