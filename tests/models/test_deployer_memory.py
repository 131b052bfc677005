"""Where there is no memory for an old and a new version at once."""

import pytest

from protos.nearline.v1 import status_pb2
from protos.records import MILLION
from serving.errors import UnavailableError
from serving.models.lifecycle import State
from serving.models.loading import Backoff
from tests.builders.ledger import announcement, retirement, retrial, rollout
from tests.builders.waiting import wait_until
from tests.models.stage import Stage, on_stage

BUDGET = 10


def serve_first(stage: Stage, **sizes: int) -> None:
    """Version 1 of m serves, and takes 6 of 10 bytes; so does every other one, unless told otherwise."""
    stage.loader.budget(BUDGET)
    for version in range(1, 6):
        stage.loader.sizes["m", version] = sizes.get(f"v{version}", 6)
    stage.say(announcement("m", 1))
    stage.wait_state(1, State.READY)


def test_a_version_that_does_not_fit_beside_the_old_one_is_refused_and_the_old_one_serves_on() -> None:
    with on_stage() as stage:
        serve_first(stage)
        stage.say(announcement("m", 2))
        stage.wait_state(2, State.FAILED)
        stage.wait_handled()
        assert stage.last(2).error.kind == status_pb2.RESOURCE
        assert "beside m/1" in stage.last(2).error.message
        assert stage.last(2).retry_at_ms, "memory may become free"
        assert (stage.serving(), stage.states(1)[-1]) == ([1], State.READY)


def test_what_did_not_fit_is_tried_again_as_soon_as_another_model_is_unloaded() -> None:
    with on_stage(Backoff(3600, 3600)) as stage:
        stage.loader.sizes["other", 1] = 4
        stage.loader.budget(BUDGET)
        stage.say(announcement("other", 1))
        stage.wait_state(1, State.READY, "other")
        stage.loader.sizes["m", 1] = 8
        stage.say(announcement("m", 1))
        stage.wait_state(1, State.FAILED)
        stage.say(retirement("other", 1))
        stage.wait_state(1, State.READY)
        assert stage.serving() == [1]


def test_a_version_that_fits_nowhere_is_rejected_and_nothing_is_unloaded_for_it() -> None:
    with on_stage(unload_first=True) as stage:
        serve_first(stage, v2=11)
        stage.say(announcement("m", 2))
        stage.wait_state(2, State.REJECTED)
        stage.wait_handled()
        assert stage.last(2).error.kind == status_pb2.RESOURCE
        assert (stage.serving(), stage.states(1)[-1]) == ([1], State.READY)


def test_where_both_fit_nothing_is_unloaded_first() -> None:
    with on_stage(unload_first=True) as stage:
        serve_first(stage, v2=4)
        stage.say(announcement("m", 2))
        stage.wait_state(2, State.READY)
        stage.wait_state(1, State.UNLOADED)
        stage.wait_handled()
        assert stage.last(1).reason == ""
        then = [shares for shares, r in zip(stage.serving_when_reported, stage.reports, strict=True) if r.version == 2]
        assert all([share.version for share in shares] == [1] for shares in then[:-1]), "it served until then"


def test_the_old_version_is_unloaded_first_where_that_is_the_policy_and_nothing_serves_meanwhile() -> None:
    with on_stage(unload_first=True) as stage:
        serve_first(stage)
        gate = stage.loader.hold("m", 2, State.WARMING)
        stage.say(announcement("m", 2))
        stage.wait_state(1, State.UNLOADED)
        stage.wait_state(2, State.LOADING)
        assert stage.last(1).reason == "there is no memory for it beside version 2"
        assert any("waits until version 1 is unloaded" in r.reason for r in stage.reports if r.version == 2)
        with pytest.raises(UnavailableError, match="no version of it is ready"):
            stage.table.lookup("m")
        gate.set()
        stage.wait_state(2, State.READY)
        assert stage.serving() == [2]


def test_requests_that_run_on_the_old_version_end_before_the_new_one_is_loaded() -> None:
    with on_stage(unload_first=True) as stage:
        serve_first(stage)
        lease = stage.table.acquire("m")
        stage.say(announcement("m", 2))
        stage.wait_state(1, State.DRAINING)
        stage.wait_handled()
        assert State.LOADING not in stage.states(2)
        lease.release()
        stage.wait_state(2, State.READY)


def test_a_version_that_is_only_loaded_ahead_gets_no_room() -> None:
    with on_stage(unload_first=True) as stage:
        serve_first(stage)
        stage.say(announcement("m", 2, held=True))
        stage.wait_state(2, State.FAILED)
        stage.wait_handled()
        assert stage.serving() == [1]


def test_versions_that_are_to_serve_beside_each_other_do_not_take_each_others_room() -> None:
    with on_stage(unload_first=True) as stage:
        serve_first(stage)
        stage.say(announcement("m", 2, held=True), rollout("m", 1, {1: MILLION // 2, 2: MILLION // 2}))
        stage.wait_state(2, State.FAILED)
        stage.wait_handled()
        assert stage.serving() == [1]


def test_a_version_that_fails_all_the_same_leaves_the_room_to_the_old_one_and_gets_it_once_only() -> None:
    with on_stage(Backoff(0.01, 0.02), unload_first=True) as stage:
        serve_first(stage)
        stage.loader.cold["m", 2] = True
        stage.say(announcement("m", 2))
        wait_until(lambda: stage.states(1).count(State.READY) == 2, "version 1 is back")
        wait_until(lambda: stage.last(2).error.kind == status_pb2.RESOURCE, "version 2 is tried again, and refused")
        wait_until(lambda: stage.states(2).count(State.FAILED) > 4)
        assert (stage.serving(), stage.states(1).count(State.UNLOADED)) == ([1], 1)
        stage.say(retrial("m", 2))
        stage.wait_state(2, State.READY)
        assert stage.serving() == [2]


def test_what_is_being_unloaded_in_any_case_is_waited_for_whatever_the_policy() -> None:
    with on_stage() as stage:
        serve_first(stage)
        lease = stage.table.acquire("m")
        stage.say(retirement("m", 1))
        stage.wait_state(1, State.DRAINING)
        stage.say(announcement("m", 2))
        stage.wait_state(2, State.VERIFYING)
        stage.wait_handled()
        lease.release()
        stage.wait_state(2, State.READY)
        assert State.FAILED not in stage.states(2)


def test_a_newer_version_takes_over_the_room_that_was_made() -> None:
    with on_stage(unload_first=True) as stage:
        serve_first(stage)
        lease = stage.table.acquire("m")
        stage.say(announcement("m", 2))
        stage.wait_state(1, State.DRAINING)
        stage.say(announcement("m", 3))
        stage.wait_state(2, State.SUPERSEDED)
        lease.release()
        stage.wait_state(3, State.READY)
        assert stage.serving() == [3]
