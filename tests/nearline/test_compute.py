"""From events to states and predictions, step by step, over both stores."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from protos.dead_letter import DeadLetter
from protos.partition import partition_of
from protos.records import MILLION, Share
from protos.traffic import version_for
from serving.models.loaded import LoadedModel
from serving.models.places import key_of
from tests.builders.bundles import again, load
from tests.builders.buses import TOPICS, everything
from tests.builders.graphs import doubler
from tests.builders.nearline import PLENTY, SHARDS, Setup, rig
from tests.builders.truth import check, check_drained
from tests.store.stores import Store

DAY_MS = 86_400_000


def test_an_event_becomes_a_state_and_a_prediction(store: Store, model: LoadedModel) -> None:
    with rig(store) as r:
        r.serve(model)
        r.happen("a", "item-1")
        r.happen("b", "item-2", 1)
        r.happen("b", "item-5", 2)
        r.catch_up()
        assert r.items(model, "a") == ["item-2", "item-3", "item-0"]
        assert r.items(model, "b") == ["item-3", "item-6", "item-4"]
        assert (r.made.counted("events"), r.active("a"), r.active("c")) == (3, True, False)
        check_drained(r, [model])


def test_a_burst_of_an_entity_costs_one_prediction(store: Store, model: LoadedModel) -> None:
    with rig(store) as r:
        r.serve(model)
        for number in range(50):
            r.happen("a", f"item-{number % 20}", number)
        r.catch_up()
        assert (r.made.counted("events"), r.made.counted("predictions")) == (50, 1)


def test_later_events_are_folded_onto_what_is_stored(store: Store, model: LoadedModel) -> None:
    with rig(store) as r:
        r.serve(model)
        for item, ts in (("item-1", 1), ("item-5", 2)):
            r.happen("a", item, ts)
            r.catch_up()
        assert r.items(model, "a") == ["item-2", "item-6", "item-3"]


def test_an_event_that_its_producer_sent_twice_has_one_effect(store: Store, model: LoadedModel) -> None:
    with rig(store) as r:
        r.serve(model)
        r.happen("a", "item-1", 1, event_id="x")
        r.settle()
        before = r.contents()
        r.happen("a", "item-1", 1, event_id="x")
        r.settle()
        assert r.contents() == before
        counts = ("events", "events_duplicate", "predictions")
        assert [r.made.counted(name) for name in counts] == [1, 1, 1]


@pytest.mark.parametrize("letters", [True, False])
def test_an_event_that_comes_too_late_is_counted_and_perhaps_kept(
    store: Store, model: LoadedModel, *, letters: bool
) -> None:
    with rig(store, Setup(late_letters=letters)) as r:
        r.serve(model)
        r.happen("a", "item-1", DAY_MS)
        r.happen("a", "item-7", 1)
        r.catch_up()
        assert r.items(model, "a") == ["item-2", "item-3", "item-0"]
        assert (r.made.counted("events_late"), r.made.counted("dead_letters")) == (1, int(letters))
    found = [DeadLetter.decode(record.value or b"") for record in everything(store.folder, TOPICS.dead_letters.name)]
    assert [letter.reason for letter in found] == (
        ["ts: expected an event within the allowed lateness, got a later one"] if letters else []
    )


def test_an_event_out_of_order_within_the_lateness_takes_its_place(store: Store, model: LoadedModel) -> None:
    with rig(store) as r:
        r.serve(model)
        for item, ts in (("item-1", 1), ("item-5", 3), ("item-9", 2)):
            r.happen("a", item, ts)
            r.catch_up()
        for item, ts in (("item-1", 1), ("item-9", 2), ("item-5", 3)):
            r.happen("b", item, ts)
        r.catch_up()
        assert r.items(model, "a") == r.items(model, "b")


def test_an_event_from_the_future_counts_as_of_its_append_time(store: Store, model: LoadedModel) -> None:
    with rig(store) as r:
        r.serve(model)
        r.happen("a", "item-1", (1 << 42) - 1)
        r.happen("a", "item-5")
        r.catch_up()
        assert (r.made.counted("events_clamped"), r.made.counted("events_late")) == (1, 0)
        assert r.items(model, "a") == ["item-2", "item-6", "item-3"]


def test_without_a_model_histories_are_kept_for_the_first_one(store: Store, model: LoadedModel) -> None:
    with rig(store) as r:
        r.happen("a", "item-1", 1)
        r.catch_up()
        assert r.made.counted("predictions") == 0
        r.serve(model)
        r.happen("a", "item-5", 2)
        r.catch_up()
        assert r.items(model, "a") == ["item-2", "item-6", "item-3"]


def test_a_model_that_recommends_nothing_is_left_alone(store: Store, model: LoadedModel, tmp_path: Path) -> None:
    with rig(store) as r:
        r.serve(model)
        r.serve(load(tmp_path / "d", "d", 1, doubler()))
        r.happen("a", "item-1")
        r.catch_up()
        assert r.made.counted("predictions") == 1


def test_an_entity_of_which_the_recipe_knows_nothing_has_no_prediction(store: Store, model: LoadedModel) -> None:
    with rig(store) as r:
        r.serve(model)
        r.happen("a", "no item of the catalogue")
        r.settle()
        assert (r.document("a") is not None, r.items(model, "a")) == (True, None)


def test_each_entity_is_computed_by_the_version_that_serves_it(
    store: Store, model: LoadedModel, second: LoadedModel
) -> None:
    shares = (Share(2, 300_000), Share(1, 700_000))
    with rig(store) as r:
        r.put("m", shares, model, second)
        entities = [f"e{number}" for number in range(40)]
        for entity in entities:
            r.happen(entity, "item-1")
        r.settle()
        assert r.made.counted("predictions") == 40
        for entity in entities:
            chosen = version_for(shares, "m", entity.encode())
            assert (r.items(model, entity) is not None) is (chosen == 1)
            assert (r.items(second, entity) is not None) is (chosen == 2)
        check_drained(r, [model, second])
    assert sum(share.weight_ppm for share in shares) == MILLION


def test_two_models_are_computed_from_the_same_events(store: Store, model: LoadedModel, second: LoadedModel) -> None:
    other = again(second, "other", 2)
    with rig(store) as r:
        r.serve(model)
        r.serve(other)
        r.happen("a", "item-1")
        r.settle()
        assert r.items(model, "a") == ["item-2", "item-3", "item-0"]
        assert r.items(other, "a") == ["item-3", "item-5", "item-0"]


def test_a_model_that_fails_costs_neither_states_nor_the_answers_of_others(
    store: Store, model: LoadedModel, bad: LoadedModel
) -> None:
    bad = again(bad, "bad")
    with rig(store) as r:
        r.serve(model)
        r.serve(bad)
        r.happen("a", "item-9")
        r.settle()
        assert {loaded.model for loaded, _ in r.made.failed} == {"bad"}
        assert (r.items(model, "a") is not None, r.items(bad, "a")) == (True, None)


def test_where_a_run_fails_only_the_bad_rows_go_without(store: Store, bad: LoadedModel) -> None:
    with rig(store) as r:
        r.serve(bad)
        entities = [f"e{number}" for number in range(40)]
        for entity in entities:
            r.happen(entity, "item-9" if entity == "e7" else "item-1")
        r.settle()
        assert [entity for entity in entities if r.items(bad, entity) is None] == ["e7"]


def test_a_prediction_goes_when_the_model_fails_on_what_is_known_now(store: Store, bad: LoadedModel) -> None:
    with rig(store) as r:
        r.serve(bad)
        r.happen("a", "item-1", 1)
        r.catch_up()
        assert r.items(bad, "a") is not None
        r.happen("a", "item-9", 2)
        r.settle()
        assert r.items(bad, "a") is None


def test_types_that_trigger_nothing_only_update_the_state(store: Store, model: LoadedModel) -> None:
    chosen = again(model, triggers=("buy",))
    with rig(store) as r:
        r.serve(chosen)
        r.settle()
        r.happen("a", "item-1", 1, kind="view")
        r.catch_up()
        assert r.made.counted("predictions") == 0
        r.happen("a", "item-5", 2, kind="buy")
        r.catch_up()
        assert r.items(chosen, "a") == ["item-2", "item-6", "item-3"]


def test_what_happened_long_ago_causes_no_prediction_and_leaves_no_stale_one(store: Store, model: LoadedModel) -> None:
    now_ms = time.time_ns() // 1_000_000
    setup = Setup(replace(PLENTY, oldest_s=60, lateness_s=10 * 86_400))
    with rig(store, setup) as r:
        r.serve(model)
        r.settle()
        r.happen("new", "item-1", now_ms)
        r.happen("old", "item-1", now_ms - DAY_MS)
        r.catch_up()
        assert (r.items(model, "new") is not None, r.items(model, "old")) == (True, None)
        assert r.document("old") is not None


def test_more_entities_than_one_run_takes_are_all_computed(store: Store, model: LoadedModel) -> None:
    with rig(store) as r:
        r.serve(model)
        count = 300
        for number in range(count):
            r.happen(f"e{number}", "item-1")
        r.settle()
        assert all(r.items(model, f"e{number}") for number in range(count))
        check_drained(r, [model])


def test_when_time_is_short_events_of_a_smaller_priority_go_first(store: Store, model: LoadedModel) -> None:
    urgent = again(model, event_priorities={"buy": 0})
    entities = [f"e{number}" for number in range(600) if partition_of(b"e%d" % number, SHARDS) == 0]
    with rig(store, Setup(replace(PLENTY, share_s=1e-9))) as r:
        r.serve(urgent)
        r.slow(urgent)
        for entity in entities[:20]:
            r.happen(entity, "item-1", kind="view")
        r.happen(entities[20], "item-1", kind="buy")
        r.step()
        assert next(iter(r.due(urgent))) == entities[20]


def test_a_version_that_is_not_computed_any_more_has_no_prediction_of_who_changed(
    store: Store, model: LoadedModel, second: LoadedModel
) -> None:
    with rig(store) as r:
        r.serve(model)
        r.happen("touched", "item-1", 1)
        r.happen("untouched", "item-1", 1)
        r.settle()
        r.serve(second)
        r.happen("touched", "item-5", 2)
        r.settle()
        assert (r.items(model, "touched"), r.items(model, "untouched") is not None) == (None, True)
        check(r, [model, second])
        r.serve(model)
        r.settle()
        check_drained(r, [model])


def test_no_lease_is_left_behind_and_what_drains_is_not_used(store: Store, model: LoadedModel) -> None:
    going = again(model)
    with rig(store) as r:
        r.serve(going)
        r.happen("a", "item-1")
        r.settle()
        assert going._leases == 0
        going.drain(lambda: None)
        r.happen("b", "item-1")
        r.catch_up()
        assert r.items(going, "b") is None


def test_a_step_without_events_changes_nothing(store: Store, model: LoadedModel) -> None:
    with rig(store) as r:
        r.serve(model)
        r.settle()
        before = (r.contents(), r.rankings())
        r.step()
        assert (r.contents(), r.rankings()) == before


def test_when_time_is_short_a_model_of_a_smaller_priority_gets_more_of_it(store: Store, model: LoadedModel) -> None:
    first, last = again(model, "first", priority=0), again(model, "last", priority=9)
    with rig(store) as r:
        for loaded in (first, last):
            r.serve(loaded)
        for loaded in (first, last):
            r.made.costs.observe(key_of(loaded), 1, 0.1)  # so that 20 rows fit into two seconds, and 2 into a fifth
        with r.made.engine.live.lease() as live:
            assert [version.weight for version in live.versions] == [2.0, 0.2]
            fitting = [r.made.costs.fitting(version.key, version.weight) for version in live.versions]
        assert fitting[0] == 10 * fitting[1]
