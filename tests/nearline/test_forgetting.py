"""Predictions of former versions go when they are beyond a budget, a bit at a time."""

import time
from itertools import pairwise

import pytest

from serving.models.loaded import LoadedModel
from serving.models.places import ACTIVE, DUE, FILLS, PREDICTIONS, activity_score, key_of
from serving.nearline import forgetting
from serving.nearline.forgetting import Budget
from serving.store.port import Rank
from tests.builders.bundles import again
from tests.builders.nearline import Rig, Setup, rig, shard_of
from tests.builders.truth import check_drained
from tests.builders.waiting import wait_until
from tests.store.stores import Store

HERE = [f"e{number}" for number in range(400) if shard_of(f"e{number}") == 0][:30]
YEARS = 1 << 30


def served_one_after_the_other(r: Rig, *models: LoadedModel) -> None:
    """Each is filled for all of HERE, and then gives way to the next."""
    for number, loaded in enumerate(models):
        r.serve(loaded)
        if not number:
            for entity in HERE:
                r.happen(entity, "item-1")
        r.settle()
    r.made.forgetting.restart()
    r.made.forgetting._next_at = 0.0


def wait_round(r: Rig) -> None:
    """Step through a whole round."""
    r.step()
    going = r.made.forgetting
    first = going._going

    def over() -> bool:
        r.step()
        return first is not going._going or getattr(first, "gi_frame", None) is None

    wait_until(over)


def kept(r: Rig, loaded: LoadedModel) -> int:
    return sum(r.entry(loaded, entity) is not None for entity in HERE)


def versions(model: LoadedModel, count: int) -> list[LoadedModel]:
    return [again(model, "m", version) for version in range(1, count + 1)]


def test_within_the_budget_former_versions_stay(store: Store, model: LoadedModel) -> None:
    with rig(store, Setup(budget=Budget(1 << 30, YEARS, YEARS, YEARS))) as r:
        made = versions(model, 3)
        served_one_after_the_other(r, *made)
        wait_round(r)
        assert [kept(r, loaded) for loaded in made] == [len(HERE)] * 3


@pytest.mark.parametrize("page", [1, 7, 1000])
def test_beyond_an_age_nothing_of_a_former_version_stays(
    store: Store, model: LoadedModel, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(forgetting, "_PAGE", page)
    with rig(store, Setup(budget=Budget(1 << 30, -1, YEARS, YEARS))) as r:
        made = versions(model, 2)
        served_one_after_the_other(r, *made)
        r.consumer._owned.shards[0].write([Rank(DUE + key_of(made[0]), HERE[0].encode(), 1)])
        wait_round(r)
        assert [kept(r, loaded) for loaded in made] == [0, len(HERE)]
        gone = key_of(made[0])
        assert gone not in dict(r.looking.scan(0, FILLS))
        assert PREDICTIONS + gone not in r.looking.spaces(0)
        assert DUE + gone not in r.looking.rankings(0)
        check_drained(r, [made[1]])


def test_beyond_the_bytes_those_that_served_first_go_first(store: Store, model: LoadedModel) -> None:
    made = versions(model, 4)
    with rig(store) as r:
        served_one_after_the_other(r, *made[:1])
        size = forgetting._size(r.consumer._owned.shards[0], PREDICTIONS + key_of(made[0]))
    assert size > 30 * len(HERE)
    with rig(store, Setup(budget=Budget(size * 2 + size // 2, YEARS, YEARS, YEARS))) as r:
        served_one_after_the_other(r, *made)
        wait_round(r)
        assert [kept(r, loaded) for loaded in made] == [0, len(HERE), len(HERE), len(HERE)]


def test_one_bit_is_bounded(store: Store, model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "_PAGE", 10)
    with rig(store, Setup(budget=Budget(0, -1, YEARS, YEARS))) as r:
        made = versions(model, 2)
        served_one_after_the_other(r, *made)
        left = [kept(r, made[0])]
        while left[-1]:
            r.step()
            left.append(kept(r, made[0]))
        assert max(before - after for before, after in pairwise(left)) <= 10


def test_a_version_that_comes_back_while_it_is_dropped_is_filled_again(
    store: Store, model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "_PAGE", 5)
    with rig(store, Setup(budget=Budget(0, -1, YEARS, YEARS))) as r:
        made = versions(model, 2)
        served_one_after_the_other(r, *made)
        while kept(r, made[0]) == len(HERE):
            r.step()
        assert kept(r, made[0]) > 0
        r.serve(made[0])
        r.settle()
        assert kept(r, made[0]) == len(HERE)
        check_drained(r, [made[0]])


def test_another_models_versions_have_a_budget_of_their_own(store: Store, model: LoadedModel) -> None:
    with rig(store, Setup(budget=Budget(1 << 30, YEARS, YEARS, YEARS))) as r:
        ones, others = versions(model, 2), [again(model, "other", 1), again(model, "other", 2)]
        for one, other in zip(ones, others, strict=True):
            r.serve(one)
            served_one_after_the_other(r, other)
        size = forgetting._size(r.consumer._owned.shards[0], PREDICTIONS + key_of(ones[0]))
        r.made.forgetting._budget = Budget(size * 3 // 2, YEARS, YEARS, YEARS)
        wait_round(r)
        assert [kept(r, loaded) for loaded in (*ones, *others)] == [len(HERE)] * 4


def test_entities_that_did_nothing_for_long_are_forgotten_and_the_others_stay(
    store: Store, model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "_PAGE", 4)
    with rig(store, Setup(budget=Budget(1 << 30, YEARS, YEARS, 7200))) as r:
        served_one_after_the_other(r, model)
        shard = r.consumer._owned.shards[0]
        long_ago = activity_score(int((time.time() - 4 * 3600) * 1000))
        shard.write([Rank(ACTIVE, entity.encode(), long_ago) for entity in HERE[:9]])
        wait_round(r)
        r.settle()
        wait_round(r)
        assert [r.document(entity) is None for entity in HERE] == [True] * 9 + [False] * (len(HERE) - 9)
        assert {entity for entity, _ in r.looking.ranked(0, ACTIVE, 100)} == {e.encode() for e in HERE[9:]}
        check_drained(r, [model])
