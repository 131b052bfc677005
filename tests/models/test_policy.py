"""What is decided, case by case."""

from collections.abc import Mapping

from protos.records import MILLION, ModelRecord, Share
from serving.models.lifecycle import State
from serving.models.policy import (
    Audience,
    Filled,
    Plan,
    Seen,
    Serving,
    audience,
    decide,
    every_audience,
    superseded_reason,
)
from serving.models.room import replaced
from tests.builders.ledger import Entry, announcement, model_record, retirement, rollout

ALL = MILLION
FAILED, READY, LOADING = Seen(State.FAILED), Seen(State.READY), Seen(State.LOADING)
AGAIN = Seen(State.FAILED, again=True, tried=True)
RETRYING = Seen(State.FETCHING, tried=True)


def versions(count: int, *more: Entry) -> ModelRecord:
    return model_record(*(announcement("m", v) for v in range(1, count + 1)), *more)


def plan(record: ModelRecord, seen: Mapping[int, Seen], *serving: int, labels: Mapping[str, str] | None = None) -> Plan:
    now = tuple(Share(version, ALL // len(serving)) for version in serving)
    return decided(record, seen, Serving(now, now), filled, labels)


def decided(
    record: ModelRecord, seen: Mapping[int, Seen], now: Serving, fills: Filled, labels: Mapping[str, str] | None = None
) -> Plan:
    who = audience(labels or {})
    return decide(record, [who], seen, {who: now}, fills)


def serving(plan: Plan) -> tuple[Share, ...]:
    (only,) = plan.serving.values()
    return only.infer


def filled(_shares: tuple[Share, ...]) -> bool:
    return True


def empty(_shares: tuple[Share, ...]) -> bool:
    return False


def planned(
    load: tuple[int, ...],
    serve: tuple[Share, ...],
    give_up: Mapping[int, str],
    unload: tuple[int, ...],
    *,
    recommend: tuple[Share, ...] | None = None,
) -> Plan:
    """Without `recommend` the same answers `ModelInfer` and `Recommend`."""
    return Plan(load, {Audience(): Serving(serve, serve if recommend is None else recommend)}, give_up, unload)


def only(version: int) -> tuple[Share, ...]:
    return (Share(version, ALL),)


def test_the_first_version_is_loaded_and_nothing_serves_yet() -> None:
    assert plan(versions(1), {}) == planned(load=(1,), serve=(), give_up={}, unload=())


def test_a_version_serves_once_it_is_ready() -> None:
    assert plan(versions(1), {1: READY}) == planned((), only(1), {}, ())


def test_what_was_announced_in_between_is_skipped() -> None:
    assert plan(versions(9), {1: READY}, 1).load == (9,)


def test_the_old_one_serves_until_the_new_one_is_ready() -> None:
    assert plan(versions(2), {1: READY, 2: LOADING}, 1) == planned((), only(1), {}, ())
    assert plan(versions(2), {1: READY, 2: READY}, 1) == planned((), only(2), {}, unload=(1,))


def test_a_load_that_a_newer_version_made_pointless_is_given_up() -> None:
    assert plan(versions(3), {1: READY, 2: LOADING}, 1) == planned((3,), only(1), {2: "version 3 is newer"}, ())


def test_what_a_version_replaces_is_unloaded_before_it_is_loaded_alone() -> None:
    alone = Seen(State.VERIFYING, alone=True)
    assert plan(versions(2), {1: READY, 2: alone}, 1) == planned((), (), {}, unload=(1,))
    assert plan(versions(2), {1: Seen(State.DRAINING), 2: alone}) == planned((), (), {}, ())
    assert plan(versions(2), {1: Seen(State.UNLOADED), 2: alone}) == planned((), (), {}, ())
    assert plan(versions(2), {1: Seen(State.UNLOADED), 2: FAILED}).load == (1,), "it is over once that has failed"
    split = versions(3, rollout("m", 1, {2: ALL // 2, 3: ALL // 2}))
    assert plan(split, {1: READY, 2: READY, 3: alone}, 1) == planned((), only(2), {}, unload=(1,))


def test_only_what_nobody_is_to_get_any_more_makes_room() -> None:
    loaded = {1: 60, 2: 60}
    everybody = [Audience()]
    assert replaced(versions(3), everybody, 3, loaded) == [1, 2]
    assert replaced(versions(3, rollout("m", 1, {1: ALL // 2, 3: ALL // 2})), everybody, 3, loaded) == [2]
    assert replaced(versions(3, rollout("m", 1, {1: ALL})), everybody, 3, loaded) == []
    held = model_record(announcement("m", 1), announcement("m", 2), announcement("m", 3, held=True))
    assert replaced(held, everybody, 3, loaded) == [], "it is loaded ahead only"
    assert replaced(held, everybody, 2, {1: 60, 3: 60}) == [1], "what is loaded ahead stays"


def test_a_failed_new_version_leaves_the_old_one_serving() -> None:
    assert plan(versions(2), {1: READY, 2: FAILED}, 1) == planned((), only(1), {}, ())


def test_a_failed_one_is_loaded_when_its_retry_is_due() -> None:
    assert plan(versions(2), {1: READY, 2: AGAIN}, 1).load == (2,)


def test_a_rejected_one_is_not_loaded_until_it_is_told_to_be() -> None:
    assert plan(versions(1), {1: Seen(State.REJECTED)}).load == ()
    assert plan(versions(1), {1: Seen(State.REJECTED, again=True)}).load == (1,)


def test_where_nothing_serves_and_the_newest_fails_an_older_one_is_tried() -> None:
    assert plan(versions(3), {3: FAILED}).load == (2,)
    assert plan(versions(3), {3: FAILED, 2: FAILED}).load == (1,)
    assert plan(versions(3), {3: FAILED, 2: FAILED, 1: FAILED}).load == ()


def test_a_stand_in_serves_while_the_newest_is_retried() -> None:
    assert plan(versions(2), {2: FAILED, 1: READY}) == planned((), only(1), {}, ())
    assert plan(versions(2), {2: AGAIN, 1: READY}, 1) == planned((2,), only(1), {}, ())
    assert plan(versions(2), {2: RETRYING, 1: READY}, 1) == planned((), only(1), {}, ())


def test_a_retry_of_the_newest_does_not_stop_the_load_of_its_stand_in() -> None:
    assert plan(versions(2), {2: RETRYING, 1: LOADING}) == planned((), (), {}, ())


def test_a_stand_in_that_failed_is_retried_too() -> None:
    assert plan(versions(2), {2: FAILED, 1: AGAIN}).load == (1,)


def test_a_stand_in_gives_way_to_the_newest() -> None:
    assert plan(versions(2), {2: READY, 1: READY}, 1) == planned((), only(2), {}, (1,))


def test_a_stand_in_is_no_held_and_no_retired_version() -> None:
    record = model_record(
        announcement("m", 1, held=True), announcement("m", 2), announcement("m", 3), retirement("m", 2)
    )
    assert plan(record, {3: FAILED}).load == ()


def test_the_newest_version_is_loaded_ahead_while_it_is_held_and_gets_no_traffic() -> None:
    record = model_record(announcement("m", 1), announcement("m", 2, held=True))
    assert plan(record, {1: READY}, 1) == planned((2,), only(1), {}, ())
    assert plan(record, {1: READY, 2: READY}, 1) == planned((), only(1), {}, ())


def test_of_held_versions_only_the_newest_is_loaded_ahead() -> None:
    record = model_record(*(announcement("m", v, held=v > 1) for v in (1, 2, 3)))
    assert plan(record, {1: READY, 2: READY}, 1) == planned((3,), only(1), {}, (2,))
    newer = model_record(*(announcement("m", v, held=v == 2) for v in (1, 2, 3)))
    assert plan(newer, {1: READY, 2: READY}, 1).unload == (2,)


def test_what_a_rollout_named_once_is_not_loaded_ahead_again() -> None:
    record = model_record(
        announcement("m", 1), announcement("m", 2, held=True), rollout("m", 1, {2: ALL}), rollout("m", 2, {1: ALL})
    )
    assert plan(record, {1: READY, 2: READY}, 2) == planned((), only(1), {}, (2,))


def test_what_is_rolled_out_elsewhere_is_kept_warm_here_until_it_comes_here_or_is_taken_back() -> None:
    said = [announcement("m", 1), announcement("m", 2, held=True)]
    elsewhere = model_record(*said, rollout("m", 1, {2: ALL}, scopes=[{"region": "mars"}]))
    assert plan(elsewhere, {1: READY}, 1) == planned((2,), only(1), {}, ())
    assert plan(elsewhere, {1: READY, 2: READY}, 1) == planned((), only(1), {}, ())
    back = model_record(*said, rollout("m", 1, {2: ALL}, scopes=[{"region": "mars"}]), rollout("m", 2))
    assert plan(back, {1: READY, 2: READY}, 1).unload == (2,)


def test_held_versions_that_were_rolled_out_are_the_way_back_when_one_breaks() -> None:
    record = model_record(
        *(announcement("m", v, held=True) for v in (1, 2)), rollout("m", 1, {1: ALL}), rollout("m", 2, {2: ALL})
    )
    broken = Seen(State.READY, tried=True, broken=True)
    assert plan(record, {2: broken, 1: Seen(State.UNLOADED)}, 2) == planned((1,), only(2), {}, ())


def test_a_version_that_breaks_serves_until_the_one_below_can_and_is_unloaded_then() -> None:
    record, broken = versions(2), Seen(State.READY, tried=True, broken=True)
    assert plan(record, {2: broken, 1: Seen(State.UNLOADED)}, 2) == planned((1,), only(2), {}, ())
    assert plan(record, {2: broken, 1: LOADING}, 2) == planned((), only(2), {}, ())
    assert plan(record, {2: broken, 1: READY}, 2) == planned((), only(1), {}, (2,))


def test_a_version_that_breaks_goes_on_where_nothing_else_can_serve() -> None:
    broken = Seen(State.READY, tried=True, broken=True)
    assert plan(versions(1), {1: broken}, 1) == planned((), only(1), {}, ())
    assert plan(versions(2), {2: broken, 1: FAILED}, 2) == planned((), only(2), {}, ())


def test_the_share_of_a_version_that_breaks_goes_to_the_rest_of_the_line() -> None:
    record = versions(2, rollout("m", 1, {1: ALL - 10, 2: 10}))
    broken = Seen(State.READY, tried=True, broken=True)
    assert serving(plan(record, {1: READY, 2: broken}, 1, 2)) == only(1)


def test_a_pin_goes_back_to_an_older_version() -> None:
    record = versions(2, rollout("m", 1, {1: ALL}))
    assert plan(record, {2: READY, 1: Seen(State.UNLOADED)}, 2) == planned((1,), only(2), {}, ())
    assert plan(record, {2: READY, 1: READY}, 2) == planned((), only(1), {}, (2,))


def test_a_newer_version_does_not_move_a_pin() -> None:
    record = versions(2, rollout("m", 1, {2: ALL}), announcement("m", 3))
    assert plan(record, {2: READY}, 2) == planned((), only(2), {}, ())
    assert superseded_reason(record, [Audience()]) == "rollout epoch 1 names 2"


CANARY = {2: 100_000, 1: 900_000}
SPLIT = (Share(2, 100_000), Share(1, 900_000))


def test_a_canary_serves_its_share_once_it_is_ready() -> None:
    record = versions(2, rollout("m", 1, CANARY))
    assert serving(plan(record, {1: READY, 2: LOADING}, 1)) == only(1)
    assert serving(plan(record, {1: READY, 2: READY}, 1)) == SPLIT


def test_the_share_of_a_canary_that_fails_goes_to_the_others() -> None:
    record = versions(2, rollout("m", 1, CANARY))
    assert serving(decided(record, {1: READY, 2: FAILED}, Serving(SPLIT, SPLIT), filled)) == only(1)
    assert serving(decided(record, {1: READY, 2: FAILED}, Serving((), ()), filled)) == only(1)


def test_at_the_first_start_what_is_ready_first_serves() -> None:
    assert serving(plan(versions(2, rollout("m", 1, CANARY)), {1: READY, 2: LOADING})) == only(1)


def test_while_a_canary_is_replaced_both_of_before_go_on() -> None:
    record = versions(3, rollout("m", 1, CANARY), rollout("m", 2, {3: 100_000, 1: 900_000}))
    assert decided(record, {1: READY, 2: READY, 3: LOADING}, Serving(SPLIT, SPLIT), filled) == planned(
        (), SPLIT, {}, ()
    )
    done = decided(record, {1: READY, 2: READY, 3: READY}, Serving(SPLIT, SPLIT), filled)
    assert (serving(done), done.unload) == ((Share(3, 100_000), Share(1, 900_000)), (2,))


def test_a_wider_share_takes_effect_at_once() -> None:
    record = versions(2, rollout("m", 1, CANARY), rollout("m", 2, {2: 500_000, 1: 500_000}))
    assert serving(decided(record, {1: READY, 2: READY}, Serving(SPLIT, SPLIT), filled)) == (
        Share(2, 500_000),
        Share(1, 500_000),
    )


def test_a_rollout_elsewhere_changes_nothing_here() -> None:
    record = versions(2, rollout("m", 1, {1: ALL}, scopes=[{"region": "us"}]))
    assert serving(plan(record, {2: READY}, 2, labels={"region": "eu"})) == only(2)


def test_a_retired_version_stops_serving_even_without_a_replacement() -> None:
    assert plan(versions(1, retirement("m", 1)), {1: READY}, 1) == planned((), (), {}, unload=(1,))


def test_a_retired_version_is_replaced_by_an_older_one() -> None:
    record = versions(2, retirement("m", 2))
    assert plan(record, {2: READY, 1: Seen(State.UNLOADED)}, 2) == planned((1,), (), {}, unload=(2,))


def test_a_rollout_that_was_taken_back_does_not_undeploy() -> None:
    record = model_record(announcement("m", 1, held=True), rollout("m", 1, {1: ALL}), rollout("m", 2))
    assert plan(record, {1: READY}, 1) == planned((), only(1), {}, ())


def test_what_is_wanted_again_while_it_drains_is_loaded_after() -> None:
    assert plan(versions(1), {1: Seen(State.DRAINING)}).load == ()
    assert plan(versions(1), {1: Seen(State.UNLOADED)}).load == (1,)


def test_recommend_stays_with_the_old_version_until_the_new_one_is_filled() -> None:
    old = Serving(only(1), only(1))
    seen = {1: READY, 2: READY}
    assert decided(versions(2), seen, old, empty) == planned((), only(2), {}, (), recommend=only(1))
    between = Serving(only(2), only(1))
    assert decided(versions(2), seen, between, empty) == planned((), only(2), {}, (), recommend=only(1))
    assert decided(versions(2), seen, between, filled) == planned((), only(2), {}, (1,))


def test_where_nothing_recommends_yet_an_empty_version_does() -> None:
    assert decided(versions(1), {1: READY}, Serving(), empty) == planned((), only(1), {}, ())


def test_a_retired_version_stops_recommending_even_if_the_new_one_is_empty() -> None:
    record = versions(2, retirement("m", 1))
    plan = decided(record, {1: READY, 2: READY}, Serving(only(2), only(1)), empty)
    assert plan == planned((), only(2), {}, (1,))


def test_a_newer_version_takes_over_from_one_that_was_still_being_filled() -> None:
    plan = decided(versions(3), {1: READY, 2: READY, 3: READY}, Serving(only(2), only(1)), empty)
    assert plan == planned((), only(3), {}, (2,), recommend=only(1))


def test_for_a_shared_store_every_scope_of_the_rollout_counts() -> None:
    record = versions(2, rollout("m", 1, {1: ALL}, {2: ALL}, scopes=[{}, {"region": "eu"}]))
    eu = audience({"region": "eu"})
    assert every_audience(record) == [Audience(), eu]
    assert decide(record, every_audience(record), {}, {}, filled).load == (1, 2)
    plan = decide(record, every_audience(record), {1: READY, 2: READY}, {}, filled)
    assert plan == Plan((), {Audience(): Serving(only(1), only(1)), eu: Serving(only(2), only(2))}, {}, ())


def test_a_way_back_is_taken_at_once_even_if_predictions_are_missing() -> None:
    record = versions(2, rollout("m", 1, {1: ALL}))
    now = Serving(only(2), only(2))
    assert decided(record, {1: READY, 2: READY}, now, empty) == planned((), only(1), {}, (2,))
