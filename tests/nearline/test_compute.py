"""From events to the changes of a shard."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from protos.records import MILLION, Share
from protos.traffic import version_for
from serving.errors import ModelError
from serving.models.answers import PREDICTIONS, prediction_key, read_entry, read_message
from serving.models.loaded import LoadedModel
from serving.models.table import ActiveModel, ActiveTable
from serving.nearline.compute import Computer
from serving.recipes.event import Event
from serving.recipes.history import STATES, History, state_key
from serving.recipes.recipe import LastN
from serving.store.port import Change
from tests.builders.bundles import load, load_recommender, serve
from tests.builders.graphs import doubler, recommender

ITEM = LastN(n=1)


class Shard:
    """The states of a shard, and what is written to it. A dict does what the store does in between."""

    def __init__(self, *models: LoadedModel) -> None:
        self.table = ActiveTable()
        if models:
            serve(self.table, *models)
        self.failed: list[tuple[LoadedModel, ModelError]] = []
        self.computer = Computer(self.table, lambda loaded, error: self.failed.append((loaded, error)))
        self.stored: dict[tuple[bytes, bytes], bytes | None] = {}

    def take(self, events: Mapping[bytes, Sequence[Event]]) -> tuple[list[Change], int]:
        changes, predictions = self.computer.changes(events, lambda keys: [self.stored.get((STATES, k)) for k in keys])
        self.stored.update({(change.space, change.key): change.value for change in changes})
        return changes, predictions

    def items(self, loaded: LoadedModel, entity: bytes) -> list[str] | None:
        entry = self.stored.get((PREDICTIONS, prediction_key(loaded, entity)))
        return list(read_message(read_entry(entry)[1]).item_ids) if entry else None

    def history(self, entity: bytes, field: str = "item") -> list[str]:
        return History.decode(self.stored.get((STATES, state_key(LastN(n=1, field=field), entity)))).values


def bought(*items: str, start: int = 0, field: str = "item") -> list[Event]:
    return [Event(b"", b"%08d" % at, "", at, {field: item}) for at, item in enumerate(items, start)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load(tmp_path_factory.mktemp("bundle"))


def test_states_and_predictions_come_from_the_events(model: LoadedModel) -> None:
    shard = Shard(model)
    changes, predictions = shard.take({b"a": bought("item-1"), b"b": bought("item-2", "item-5")})
    assert (len(changes), predictions) == (4, 2)
    assert (shard.history(b"a"), shard.history(b"b")) == (["item-1"], ["item-2", "item-5"])
    assert shard.items(model, b"a") == ["item-2", "item-3", "item-0"]
    assert shard.items(model, b"b") == ["item-3", "item-6", "item-4"]


def test_later_events_are_folded_onto_what_is_stored(model: LoadedModel) -> None:
    one, other = Shard(model), Shard(model)
    one.take({b"a": bought("item-1")})
    one.take({b"a": bought("item-5", start=1)})
    other.take({b"a": bought("item-1", "item-5")})
    assert one.items(model, b"a") == other.items(model, b"a")
    assert one.history(b"a") == other.history(b"a")


def test_events_that_change_nothing_write_no_state(model: LoadedModel) -> None:
    shard = Shard(model)
    shard.take({b"a": bought("item-1")})
    changes, _ = shard.take({b"a": bought("item-1")})
    assert {change.space for change in changes} == {PREDICTIONS}


def test_without_a_model_histories_are_kept_for_the_first_one(model: LoadedModel) -> None:
    shard = Shard()
    assert shard.take({b"a": bought("item-1")})[1] == 0
    assert shard.history(b"a") == ["item-1"]
    serve(shard.table, model)
    shard.take({b"a": bought("item-5", start=1)})
    assert shard.items(model, b"a") == ["item-2", "item-6", "item-3"]


def test_a_model_that_recommends_nothing_is_left_alone(model: LoadedModel, tmp_path: Path) -> None:
    shard = Shard(model)
    serve(shard.table, load(tmp_path, "other", 1, doubler()))
    assert shard.take({b"a": bought("item-1")})[1] == 1


def test_each_entity_is_computed_by_the_version_that_serves_it(model: LoadedModel, tmp_path: Path) -> None:
    canary = load_recommender(tmp_path, recommender(step=2), "m", 2)
    shard = Shard()
    shares = (Share(2, 300_000), Share(1, 700_000))
    shard.table.swap(ActiveModel("m", shares, shares, {1: model, 2: canary}))
    entities = [b"%d" % i for i in range(40)]
    assert shard.take({entity: bought("item-1") for entity in entities})[1] == 40
    for entity in entities:
        chosen = version_for(shares, "m", entity)
        assert (shard.items(model, entity) is not None) is (chosen == 1)
        assert (shard.items(canary, entity) is not None) is (chosen == 2)
    assert sum(share.weight_ppm for share in shares) == MILLION


def test_a_model_that_fails_costs_neither_states_nor_the_answers_of_others(model: LoadedModel, tmp_path: Path) -> None:
    bad = load_recommender(tmp_path, recommender(bad_row=9), "bad", 1)
    shard = Shard(model)
    serve(shard.table, bad)
    _, predictions = shard.take({b"a": bought("item-9")})
    assert (predictions, [loaded.model for loaded, _ in shard.failed]) == (1, ["bad"])
    assert (shard.history(b"a"), shard.items(model, b"a") is not None) == (["item-9"], True)
    assert shard.items(bad, b"a") is None


def test_more_entities_than_one_run_takes_are_all_computed(model: LoadedModel) -> None:
    shard = Shard(model)
    assert shard.take({b"%d" % i: bought("item-1") for i in range(2_500)})[1] == 2_500


def test_no_lease_is_left_behind_and_what_drains_is_not_used(model: LoadedModel, tmp_path: Path) -> None:
    shard = Shard(model)
    shard.take({b"a": bought("item-1")})
    assert model._leases == 0
    going = load(tmp_path)
    serve(shard.table, going)
    going.drain(lambda: None)
    assert shard.take({b"b": bought("item-1")})[1] == 0


def test_no_events_change_nothing(model: LoadedModel) -> None:
    assert Shard(model).take({}) == ([], 0)
