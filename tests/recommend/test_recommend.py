"""An answer for an entity, from the first source that has one, over both stores."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from protos.commands import Recompute
from protos.nearline.v1 import recommender_pb2
from protos.partition import partition_of
from protos.records import BulkLoad
from serving.bundles.session import ModelSession
from serving.errors import (
    ExpiredError,
    InvalidRequestError,
    NotFoundError,
    StoreUnavailableError,
    UnavailableError,
)
from serving.models.answers import Answer, entry
from serving.models.loaded import LoadedModel
from serving.models.places import PREDICTIONS, STATES, bulk_space, key_of
from serving.models.table import ActiveModel, ActiveTable, LedgerSide
from serving.recipes.features import Request
from serving.recipes.recipe import LastN, Recipe
from serving.recommend.batcher import Batcher
from serving.recommend.misses import Misses
from serving.recommend.query import Query
from serving.recommend.queue import Bounds
from serving.recommend.recommend import Recommender
from serving.store.port import Change, Cursor, Key, Slot, StoreReader
from serving.telemetry.metrics import Metrics
from tests.builders.bundles import ITEMS, POPULAR, again, load, load_recommender, serve
from tests.builders.buses import TOPICS, Connect, everything
from tests.builders.graphs import K, N, doubler, paged, recommender
from tests.builders.states import document
from tests.builders.waiting import wait_until
from tests.recommend.sessions import HeldSession
from tests.store.stores import Store

PARTITIONS = TOPICS.event_partitions
ENTITY = "e1"
SHARD = partition_of(ENTITY.encode(), PARTITIONS)
NOW_MS = time.time_ns() // 1_000_000
NEARLINE, ONLINE = recommender_pb2.FROM_NEARLINE, recommender_pb2.FROM_ONLINE
FALLBACK = recommender_pb2.FROM_FALLBACK


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load(tmp_path_factory.mktemp("bundle"), "m", 3)


@pytest.fixture(scope="module")
def contextual(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """Looks at the history and at the item of the page that is shown, none by default."""
    recipe: Recipe = {"history": LastN(n=N), "page": Request(field="page", default=-1)}
    folder = tmp_path_factory.mktemp("contextual")
    return load_recommender(folder, recommender(page=True), "m", 3, recipe)


@pytest.fixture(scope="module")
def requesting(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """Looks at the request alone."""
    folder = tmp_path_factory.mktemp("requesting")
    return load_recommender(folder, paged(), "p", 1, {"page": Request(field="page", default=5)})


class World:
    """A recommender over a store, with one model that serves."""

    def __init__(self, store: Store, reader: StoreReader, model: LoadedModel, *, waits: bool = True) -> None:
        self.waits = waits
        self.folder = store.folder
        self.table = ActiveTable()
        serve(self.table, model)
        self.model = model
        self.writer = store.writer()
        self.reader = reader
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)
        self.bounds = Bounds()
        self.misses = Misses(Connect(store.folder), TOPICS)

    def put(self, space: bytes, key: bytes, value: bytes) -> None:
        cursor = self.writer.cursor(SHARD)
        new = Cursor((("log", (cursor.offset("log") or 0) + 1 if cursor else 1),))
        self.writer.write(SHARD, cursor, new, [Change(space, key, value)])

    def predict(self, items: Sequence[str], computed_at_ms: int = NOW_MS, space: bytes | None = None) -> None:
        scores = [1.0 / (rank + 1) for rank in range(len(items))]
        answer = Answer(items, scores, self.model.model, self.model.version, computed_at_ms)
        stored = entry(answer.message(), computed_at_ms)
        self.put(space or PREDICTIONS + key_of(self.model), ENTITY.encode(), stored)

    def remember(self, *items: str) -> None:
        self.put(STATES, ENTITY.encode(), document(*items))

    def use(self, model: LoadedModel) -> None:
        self.model = model
        serve(self.table, model)

    def ask(self, query: Query | None = None, entity: str = ENTITY) -> recommender_pb2.RecommendResponse:
        return self.ask_all(query or Query("m"), [entity])[0]

    def ask_all(
        self, query: Query, entities: Sequence[str], deadline: float | None = None
    ) -> list[recommender_pb2.RecommendResponse]:
        async def told(made: Recommender, entity: str) -> bytes:
            future = Told()
            if made.begin(query, entity, deadline, future) is None:
                return await made.recommend(query, entity, deadline)
            return await future.answer

        async def all_told(made: Recommender) -> list[bytes]:
            return await asyncio.gather(*(told(made, entity) for entity in entities))

        waited = self.use_with(lambda made: made.recommend_all(query, entities, deadline)) if self.waits else None
        found = waited if waited is not None else self.use_with(all_told)
        return [recommender_pb2.RecommendResponse.FromString(data) for data in found]

    def use_with(self, ask: Callable[[Recommender], Awaitable[list[Any]]]) -> list[Any]:
        async def use() -> list[Any]:
            batcher = Batcher(self.metrics, 64, bounds=self.bounds)
            made = Recommender(self.table, self.reader, batcher, self.misses, self.metrics, lambda: PARTITIONS)
            try:
                return await ask(made)
            finally:
                batcher.close()
                await self.reader.close()

        return asyncio.run(use())

    def missed(self) -> list[tuple[bytes, str, int]]:
        return [name[:3] for name in self.misses._waiting]

    def block(self, **until_ms: int) -> None:
        active = self.table.lookup("m")
        side = LedgerSide(blocked={item.replace("_", "-"): ms for item, ms in until_ms.items()})
        self.table.swap(replace(active, ledger=side))


class Told:
    """Waits for what is told."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.give, self.fail = self.answer.set_result, self.answer.set_exception


class EachTime:
    """Asyncio runs of tests do not share a loop, which a connection belongs to: a reader for each."""

    def __init__(self, opened: Callable[[], StoreReader]) -> None:
        self._opened = opened
        self._reader: StoreReader | None = None

    def _now(self) -> StoreReader:
        if self._reader is None:
            self._reader = self._opened()
        return self._reader

    def read_now(self, keys: Sequence[Key]) -> list[bytes | None] | None:
        return self._now().read_now(keys)

    def slot(self, key: Key) -> Slot:
        return self._now().slot(key)

    def read_slots(self, slots: Sequence[Slot]) -> list[bytes | None] | None:
        return self._now().read_slots(slots)

    async def read(self, keys: Sequence[Key]) -> list[bytes | None]:
        return await self._now().read(keys)

    async def close(self) -> None:
        if self._reader is not None:
            await self._reader.close()
            self._reader = None


@pytest.fixture(params=[True, False], ids=["waited", "told"])
def world(store: Store, model: LoadedModel, request: pytest.FixtureRequest) -> Iterator[World]:
    made = World(store, EachTime(store.reader), model, waits=request.param)
    yield made
    made.writer.close()


def neighbour() -> str:
    """Another entity of the shard."""
    return next(name for name in (f"o{n}" for n in range(99)) if partition_of(name.encode(), PARTITIONS) == SHARD)


def items(response: recommender_pb2.RecommendResponse) -> list[str]:
    return list(response.item_ids)


def test_a_prediction_of_this_version_is_the_answer(world: World) -> None:
    world.predict(["item-7", "item-8"])
    response = world.ask()
    assert (items(response), response.source) == (["item-7", "item-8"], NEARLINE)
    assert (response.model, response.version, response.computed_at_ms) == ("m", 3, NOW_MS)
    assert len(response.scores) == 2
    assert world.missed() == []


def test_without_one_the_answer_is_computed_from_the_state(world: World) -> None:
    world.remember("item-1", "unknown", "item-3")
    response = world.ask()
    assert response.source == ONLINE
    assert items(response) == ["item-2", "item-4", "item-3"]
    assert (response.model, response.version) == ("m", 3)
    assert abs(response.computed_at_ms - time.time() * 1000) < 60_000


def test_an_unknown_entity_gets_popular_items_and_nobody_is_asked_to_compute_them(world: World) -> None:
    response = world.ask()
    assert (items(response), response.source) == (POPULAR[:K], FALLBACK)
    assert world.missed() == []


def test_an_entity_of_which_the_recipe_knows_nothing_gets_popular_items(world: World) -> None:
    world.remember("unknown", "unheard of")
    assert (items(world.ask()), world.ask().source) == (POPULAR[:K], FALLBACK)


def test_a_prediction_of_another_version_or_bundle_is_not_read(world: World) -> None:
    world.predict(["item-7"])
    model = world.model
    for version, digest in ((4, model.digest), (3, "0" * 64)):
        world.use(again(model, "m", version, digest=digest))
        assert world.ask().source == FALLBACK


@pytest.mark.parametrize("known", [True, False])
def test_a_prediction_that_is_older_than_asked_for_is_computed_anew(world: World, *, known: bool) -> None:
    world.predict(["item-7"], NOW_MS - 3_600_000)
    if known:
        world.remember("item-1")
    assert world.ask(Query("m", max_age_ms=7_200_000)).source == NEARLINE
    response = world.ask(Query("m", max_age_ms=60_000))
    assert response.source == (ONLINE if known else FALLBACK)
    assert (items(response) == ["item-7"]) is not known, "the last prediction is better than popular items"
    assert world.missed() == [], "the stored one is as it should be"


def test_a_prediction_that_has_expired_is_computed_anew_and_asked_for(world: World) -> None:
    world.use(again(world.model, "m", 3, ttl=60))
    world.remember("item-1")
    world.predict(["item-7"], NOW_MS - 3_600_000)
    assert world.ask().source == ONLINE
    assert world.misses._waiting == [(b"e1", "m", 3, True)]
    world.predict(["item-7"], time.time_ns() // 1_000_000)
    assert world.ask().source == NEARLINE


def test_a_miss_asks_for_a_recompute_once(world: World) -> None:
    world.remember("item-1")
    for _ in range(3):
        assert world.ask().source == ONLINE
    assert world.missed() == [(b"e1", "m", 3)]
    assert everything(world.folder, TOPICS.commands.name) == []
    world.misses.start()
    wait_until(lambda: everything(world.folder, TOPICS.commands.name))
    world.misses.stop()
    (record,) = everything(world.folder, TOPICS.commands.name)
    assert (record.key, record.value) == Recompute(b"e1", "m", 3).encode()


@pytest.mark.parametrize("source", ["prediction", "state", "nothing"])
def test_k_exclude_and_blocked_items_hold_for_every_source(world: World, source: str) -> None:
    if source == "prediction":
        world.predict(["item-2", "item-3", "item-4"])
    elif source == "state":
        world.remember("item-1")
    whole = items(world.ask())
    assert len(whole) >= K
    assert items(world.ask(Query("m", k=1))) == whole[:1]
    assert items(world.ask(Query("m", k=99)))[:K] == whole
    response = world.ask(Query("m", k=2, exclude=frozenset({whole[0]})))
    assert items(response) == whole[1:3]
    assert len(response.scores) == 2
    world.block(**{whole[1].replace("-", "_"): 0})
    assert items(world.ask(Query("m", k=2))) == [whole[0], whole[2]]
    assert whole[1] not in items(world.ask())


def test_a_block_that_has_ended_hides_nothing(world: World) -> None:
    world.predict(["item-7", "item-8", "item-9"])
    world.block(item_7=NOW_MS - 1, item_8=NOW_MS + 3_600_000)
    assert items(world.ask()) == ["item-7", "item-9"]


def test_more_than_was_stored_is_computed_online(world: World) -> None:
    world.use(again(world.model, "m", 3, stored=2))
    world.remember("item-1")
    world.predict(["item-7", "item-8"])
    sources = {k: world.ask(Query("m", k=k)).source for k in (1, 2, 3, 0)}
    assert sources == {1: NEARLINE, 2: NEARLINE, 3: ONLINE, 0: ONLINE}
    assert world.ask(Query("m", k=1, exclude=frozenset({"item-7"}))).source == NEARLINE
    assert world.ask(Query("m", k=2, exclude=frozenset({"item-7"}))).source == ONLINE
    assert world.missed() == [], "there is a prediction, and it will not hold more"


def test_a_request_that_says_what_is_assumed_anyway_is_a_hit_and_another_is_computed(
    world: World, contextual: LoadedModel
) -> None:
    world.use(contextual)
    world.remember("item-1")
    world.predict(["item-7"])
    assert world.ask(Query("m", context={"page": -1})).source == NEARLINE
    assert world.ask(Query("m", context={"unknown": "x"})).source == NEARLINE
    response = world.ask(Query("m", context={"page": 10}))
    assert (response.source, set(items(response)[:2])) == (ONLINE, {"item-2", "item-11"})
    assert world.missed() == [], "what it was told is not stored"


def test_a_feature_of_another_type_is_named(world: World, contextual: LoadedModel) -> None:
    world.use(contextual)
    world.remember("item-1")
    with pytest.raises(InvalidRequestError) as caught:
        world.ask(Query("m", context={"page": "ten"}))
    assert str(caught.value).startswith("context.page: expected ")


def test_a_model_that_looks_at_requests_alone_answers_everybody(world: World, requesting: LoadedModel) -> None:
    serve(world.table, requesting)
    response = world.ask(Query("p", context={"page": 7}), "stranger")
    assert (items(response), response.source) == (ITEMS[8 : 8 + K], ONLINE)
    assert world.ask(Query("p"), "stranger").source == ONLINE


class AwayStore:
    """A store that cannot be reached."""

    def read_now(self, keys: Sequence[Key]) -> None:
        pass

    def slot(self, key: Key) -> Slot:
        return Slot(key.key)

    def read_slots(self, slots: Sequence[Slot]) -> None:
        pass

    async def read(self, keys: Sequence[Key]) -> list[bytes | None]:
        raise StoreUnavailableError(f"away, {len(keys)} keys unread")

    async def close(self) -> None:
        """Holds nothing."""


def test_while_the_store_is_away_only_models_without_state_are_computed(world: World, requesting: LoadedModel) -> None:
    world.remember("item-1")
    world.reader = AwayStore()
    response = world.ask()
    assert (items(response), response.source) == (POPULAR[:K], FALLBACK)
    serve(world.table, requesting)
    response = world.ask(Query("p", context={"page": 7}))
    assert (items(response), response.source) == (ITEMS[8 : 8 + K], ONLINE)
    assert world.ask(Query("p")).source == ONLINE
    assert world.missed() == []


@pytest.mark.parametrize("bulk_first", [True, False])
def test_of_what_was_computed_here_and_what_was_loaded_the_later_is_the_answer(
    world: World, *, bulk_first: bool
) -> None:
    model = world.model
    shown = BulkLoad(1, model.version, model.digest, "file:///x", "0" * 64, size=1, rows=1)
    space = bulk_space("m", shown)
    world.predict(["item-7"], NOW_MS - 2_000)
    world.predict(["item-9"], NOW_MS - (3_000 if bulk_first else 1_000), space)
    assert items(world.ask()) == ["item-7"], "it is not to be seen yet"
    world.table.swap(replace(world.table.lookup("m"), bulk=shown))
    assert items(world.ask()) == (["item-7"] if bulk_first else ["item-9"])
    world.table.swap(replace(world.table.lookup("m"), bulk=replace(shown, digest="f" * 64)))
    assert items(world.ask()) == ["item-7"], "it was made with another bundle"


def test_an_unknown_objective_is_not_found_and_one_that_is_not_ready_unavailable(world: World) -> None:
    with pytest.raises(NotFoundError, match="'other'"):
        world.ask(Query("other"))
    world.table.swap(ActiveModel("other", (), (), {}))
    with pytest.raises(UnavailableError):
        world.ask(Query("other"))


def test_a_model_that_recommends_nothing_says_how_to_call_it(world: World, tmp_path: Path) -> None:
    serve(world.table, load(tmp_path / "d", "d", 1, doubler()))
    with pytest.raises(NotFoundError, match="call it with ModelInfer"):
        world.ask(Query("d"))


@pytest.mark.parametrize(
    ("query", "entity", "words"),
    [
        (Query(""), "e", "objective: expected a name"),
        (Query("m", k=10_001), "e", "k: expected at most 10000, got 10001"),
        (Query("m", exclude=frozenset(map(str, range(10_001)))), "e", "exclude: expected at most 10000 items"),
        (Query("m", context={str(n): 1 for n in range(101)}), "e", "context: expected at most 100 features, got 101"),
        (Query("m"), "", "entity_id: expected 1 to 256 bytes"),
        (Query("m"), "x" * 257, "entity_id: expected 1 to 256 bytes"),
    ],
)
def test_a_wrong_field_is_named(world: World, query: Query, entity: str, words: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        world.ask(query, entity)
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize("predicted", [True, False])
def test_a_model_that_fails_to_run_gives_the_next_best_and_is_counted(
    world: World, tmp_path: Path, *, predicted: bool
) -> None:
    bad = load_recommender(tmp_path / "bad", recommender(bad_row=19), "m", 4)
    world.use(again(bad, "m", 4, ttl=60))
    world.remember("item-19")
    if predicted:
        world.predict(["item-7"], NOW_MS - 3_600_000)
    response = world.ask()
    assert (response.source, response.version) == (FALLBACK, 4)
    assert items(response) == (["item-7"] if predicted else POPULAR[:K])
    assert world.registry.get_sample_value("nearline_run_errors_total", {"model": "m", "version": "4"}) == 1


def test_answers_for_many_entities_come_in_order_and_share_runs(world: World) -> None:
    other = neighbour()
    world.remember("item-1")
    world.put(STATES, other.encode(), document("item-2"))
    gate = HeldSession(world.model.session)
    gate.gate.set()
    world.use(again(world.model, "m", 3, session=cast("ModelSession", gate)))
    found = world.ask_all(Query("m", max_age_ms=1), [ENTITY, "stranger", other])
    assert [response.source for response in found] == [ONLINE, FALLBACK, ONLINE]
    assert [items(response)[0] for response in found] == ["item-2", POPULAR[0], "item-3"]
    assert gate.runs == [2]


def test_an_entity_that_many_ask_for_at_once_is_computed_once(world: World) -> None:
    world.remember("item-1")
    gate = HeldSession(world.model.session)
    gate.gate.set()
    world.use(again(world.model, "m", 3, session=cast("ModelSession", gate)))
    found = world.ask_all(Query("m"), [ENTITY] * 50)
    assert {response.source for response in found} == {ONLINE}
    assert {tuple(items(response)) for response in found} == {("item-2", "item-3", "item-0")}
    assert gate.runs == [1]


def test_when_more_is_asked_for_than_can_be_computed_the_rest_gets_the_next_best(world: World) -> None:
    world.remember("item-1")
    world.bounds = Bounds(rows=2)
    found = world.ask_all(Query("m"), [ENTITY] * 5)
    assert [response.source for response in found] == [ONLINE, ONLINE, FALLBACK, FALLBACK, FALLBACK]
    assert items(found[4]) == POPULAR[:K]
    refused = {"model": "m", "reason": "overload"}
    assert world.registry.get_sample_value("nearline_online_refused_total", refused) == 3


def test_what_nobody_waits_for_any_more_is_not_computed(world: World) -> None:
    world.remember("item-1")
    with pytest.raises(ExpiredError):
        world.ask_all(Query("m"), [ENTITY], deadline=time.monotonic() - 1)
    assert world.registry.get_sample_value("nearline_online_batch_rows_count", {"model": "m"}) is None


def test_answers_that_share_a_run_look_at_what_each_request_says(world: World, contextual: LoadedModel) -> None:
    world.use(contextual)
    world.remember("item-1")

    async def ask(made: Recommender) -> list[Any]:
        pages: list[dict[str, float | str]] = [{"page": 10}, {}, {"page": 15}, {"page": "x"}]
        answers = (made.recommend(Query("m", context=page), ENTITY) for page in pages)
        return await asyncio.gather(*answers, return_exceptions=True)

    *found, wrong = world.use_with(ask)
    answers = [recommender_pb2.RecommendResponse.FromString(data) for data in found]
    assert [set(items(answer)[:2]) for answer in answers] == [
        {"item-2", "item-11"},
        {"item-2", "item-3"},
        {"item-2", "item-16"},
    ]
    assert isinstance(wrong, InvalidRequestError)
    runs = world.registry.get_sample_value("nearline_online_batch_rows_count", {"model": "m"})
    assert runs in {1, 2}, "over Redis, what may be a hit comes a round trip later"


def test_a_bad_entity_spoils_the_answers_of_no_other(world: World, tmp_path: Path) -> None:
    world.use(load_recommender(tmp_path / "bad", recommender(bad_row=19), "m", 4))
    world.remember("item-1")
    other = neighbour()
    world.put(STATES, other.encode(), document("item-19"))
    found = world.ask_all(Query("m"), [ENTITY, other, ENTITY])
    assert [response.source for response in found] == [ONLINE, FALLBACK, ONLINE]


def test_answers_are_counted_by_version_source_and_traffic(world: World) -> None:
    world.ask(Query("m", test=True))
    labels = {"model": "m", "version": "3", "source": "FROM_FALLBACK", "traffic": "test"}
    assert world.registry.get_sample_value("nearline_recommendations_total", labels) == 1


def test_no_lease_is_left_behind(world: World) -> None:
    world.remember("item-1")
    world.ask()
    assert world.model._leases == 0
