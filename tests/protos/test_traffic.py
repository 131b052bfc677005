"""Which version an entity gets, and where."""

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from protos.records import MILLION, ModelRecord, Share
from protos.traffic import eligible, fallbacks, line_for, prepared, shares_for, version_for
from tests.builders.ledger import announcement, model_record, retirement, rollout

ALL = MILLION
ENTITIES = [b"entity-%d" % i for i in range(5_000)]


def three(*more: tuple[bytes, bytes]) -> ModelRecord:
    return model_record(announcement("m", 1), announcement("m", 2), announcement("m", 3, held=True), *more)


def test_without_a_rollout_the_newest_that_is_not_held_serves_everywhere() -> None:
    assert shares_for(three(), {"region": "eu"}) == (Share(2, ALL),)


def test_a_retired_version_is_not_eligible() -> None:
    assert eligible(three(retirement("m", 2))) == [1]
    assert shares_for(three(retirement("m", 2)), {}) == (Share(1, ALL),)


def test_nothing_serves_when_everything_is_held_or_retired() -> None:
    assert shares_for(three(retirement("m", 1), retirement("m", 2)), {}) == ()


def test_a_rollout_may_name_a_held_version() -> None:
    assert shares_for(three(rollout("m", 1, {3: ALL})), {}) == (Share(3, ALL),)


def test_of_the_matching_lines_the_one_with_most_labels_holds() -> None:
    record = three(
        rollout("m", 1, {1: ALL}, {2: ALL}, {3: ALL}, scopes=[{}, {"region": "eu"}, {"region": "eu", "tier": "canary"}])
    )
    for labels, version in (
        ({}, 1),
        ({"region": "us"}, 1),
        ({"region": "eu", "more": "x"}, 2),
        ({"region": "eu", "tier": "canary"}, 3),
    ):
        assert shares_for(record, labels) == (Share(version, ALL),)


def test_where_no_line_matches_the_newest_serves() -> None:
    record = three(rollout("m", 1, {1: ALL}, scopes=[{"region": "eu"}]))
    assert line_for(record, {"region": "us"}) is None
    assert shares_for(record, {"region": "us"}) == (Share(2, ALL),)


def test_a_rollout_without_lines_takes_the_pin_back() -> None:
    assert shares_for(three(rollout("m", 1, {1: ALL}), rollout("m", 2)), {}) == (Share(2, ALL),)


def test_a_retired_share_goes_to_the_last_one_of_its_line() -> None:
    record = three(rollout("m", 1, {3: 100_000, 2: 200_000, 1: 700_000}), retirement("m", 2))
    assert shares_for(record, {}) == (Share(3, 100_000), Share(1, 900_000))


def test_when_the_whole_line_is_retired_the_newest_serves() -> None:
    assert shares_for(three(rollout("m", 1, {1: ALL}), retirement("m", 1)), {}) == (Share(2, ALL),)


def test_fallbacks_are_the_older_eligible_ones_newest_first() -> None:
    record = three(announcement("m", 4))
    assert fallbacks(record, 4) == [2, 1]
    assert fallbacks(record, 1) == []


def all_held(*more: tuple[bytes, bytes]) -> ModelRecord:
    return model_record(*(announcement("m", version, held=True) for version in (1, 2, 3, 4)), *more)


def test_held_versions_that_a_rollout_has_named_are_fallbacks() -> None:
    record = all_held(rollout("m", 1, {1: ALL}), rollout("m", 2, {3: ALL}), rollout("m", 3, {4: ALL}))
    assert fallbacks(record, 4) == [3, 1]
    assert eligible(record) == []


def test_when_the_whole_line_is_retired_a_held_version_that_served_before_does_so_again() -> None:
    record = all_held(rollout("m", 1, {1: ALL}), rollout("m", 2, {3: ALL}), retirement("m", 3))
    assert shares_for(record, {}) == (Share(1, ALL),)


def test_a_held_version_that_is_rolled_out_in_one_place_serves_in_no_other() -> None:
    record = all_held(rollout("m", 1, {3: ALL}, scopes=[{"region": "eu"}]))
    assert shares_for(record, {"region": "us"}) == ()
    taken_back = three(rollout("m", 1, {3: ALL}, scopes=[{"region": "eu"}]), rollout("m", 2))
    assert shares_for(taken_back, {"region": "us"}) == (Share(2, ALL),)


def test_a_held_version_is_prepared_everywhere_until_it_is_taken_back() -> None:
    held = three()
    somewhere = three(rollout("m", 1, {3: ALL}, scopes=[{"region": "eu"}]))
    everywhere = three(rollout("m", 1, {3: ALL}))
    taken_back = three(rollout("m", 1, {3: ALL}, scopes=[{"region": "eu"}]), rollout("m", 2))
    assert [prepared(record) for record in (held, somewhere, everywhere, taken_back)] == [3, 3, 3, None]
    assert prepared(three(rollout("m", 1, {3: ALL}), announcement("m", 4))) is None
    assert prepared(three(retirement("m", 3))) is None


def test_entities_are_spread_by_the_weights() -> None:
    shares = (Share(3, 100_000), Share(2, 300_000), Share(1, 600_000))
    counts = Counter(version_for(shares, "m", entity) for entity in ENTITIES)
    for share in shares:
        assert abs(counts[share.version] / len(ENTITIES) - share.weight_ppm / MILLION) < 0.03


def test_models_split_their_entities_independently() -> None:
    shares = (Share(2, 500_000), Share(1, 500_000))
    both = Counter((version_for(shares, "a", e), version_for(shares, "b", e)) for e in ENTITIES)
    assert all(abs(count / len(ENTITIES) - 0.25) < 0.04 for count in both.values())


@given(st.integers(0, MILLION), st.integers(0, MILLION), st.binary(max_size=20))
def test_widening_a_canary_only_moves_entities_to_it(one: int, other: int, entity: bytes) -> None:
    narrow, wide = sorted((one, other))
    before = version_for((Share(2, narrow), Share(1, MILLION - narrow)), "m", entity)
    after = version_for((Share(2, wide), Share(1, MILLION - wide)), "m", entity)
    assert (before, after) in {(1, 1), (1, 2), (2, 2)}


@given(st.lists(st.integers(0, MILLION), min_size=1, max_size=4), st.binary(max_size=20))
def test_an_entity_always_gets_one_of_the_versions_and_none_without_weight(cuts: list[int], entity: bytes) -> None:
    edges = [0, *sorted(cuts), MILLION]
    shares = tuple(Share(v, b - a) for v, (a, b) in enumerate(pairwise(edges), 1))
    chosen = version_for(shares, "m", entity)
    assert next(share for share in shares if share.version == chosen).weight_ppm > 0
    assert version_for(shares, "m", entity) == chosen
