"""Loads that fail: told with their reason, retried or not, and never at the cost of what serves."""

import time

from protos.nearline.v1 import status_pb2
from serving.models.lifecycle import State
from serving.models.loading import Backoff
from tests.builders.ledger import announcement, retrial
from tests.builders.waiting import wait_until
from tests.models.stage import fetch_error, on_stage, refusal

SOON = Backoff(0.01, 0.04)


def test_a_failure_is_told_with_kind_message_detail_and_when_it_is_tried_again() -> None:
    with on_stage(Backoff(60, 300)) as stage:
        stage.loader.failures["m", 1] = [fetch_error()]
        stage.say(announcement("m", 1))
        stage.wait_state(1, State.FAILED)
        status = stage.last(1)
        assert (status.error.kind, status.error.message) == (status_pb2.FETCH, "unreachable")
        assert status.error.detail == "more words"
        assert 50_000 < status.retry_at_ms - time.time() * 1000 <= 60_000


def test_a_failed_new_version_leaves_the_old_one_serving() -> None:
    with on_stage() as stage:
        stage.say(announcement("m", 1))
        stage.wait_state(1, State.READY)
        stage.loader.failures["m", 2] = [fetch_error()]
        stage.say(announcement("m", 2))
        stage.wait_state(2, State.FAILED)
        stage.wait_handled()
        assert (stage.serving(), stage.states(1)[-1]) == ([1], State.READY)


def test_a_failed_load_is_retried_until_it_succeeds() -> None:
    with on_stage(SOON) as stage:
        stage.loader.failures["m", 1] = [fetch_error() for _ in range(4)]
        stage.say(announcement("m", 1))
        stage.wait_state(1, State.READY)
        assert stage.states(1).count(State.FAILED) == 4
        assert (stage.last(1).attempts, stage.last(1).retry_at_ms) == (5, 0)
        assert not stage.last(1).HasField("error")


def test_waits_between_retries_double_up_to_the_longest() -> None:
    backoff = Backoff(1, 300)
    assert [backoff.after(n) for n in (1, 2, 3, 8, 9, 10, 10_000)] == [1, 2, 4, 128, 256, 300, 300]


def test_a_rejected_one_is_not_retried() -> None:
    with on_stage(Backoff(0, 0)) as stage:
        stage.loader.failures["m", 1] = [refusal()]
        stage.say(announcement("m", 1))
        stage.wait_state(1, State.REJECTED)
        stage.say(announcement("other", 1))
        stage.wait_state(1, State.READY, "other")
        assert stage.loader.calls.count(("m", 1)) == 1
        assert stage.last(1).retry_at_ms == 0


def test_a_retrial_lifts_a_rejection_once() -> None:
    with on_stage() as stage:
        stage.loader.failures["m", 1] = [refusal(), refusal()]
        stage.say(announcement("m", 1))
        stage.wait_state(1, State.REJECTED)
        stage.say(retrial("m", 1, 1))
        wait_until(lambda: stage.states(1).count(State.REJECTED) == 2)
        assert stage.last(1).attempts == 1
        stage.say(retrial("m", 1, 2))
        stage.wait_state(1, State.READY)


def test_where_nothing_serves_an_older_version_stands_in_until_the_newest_loads() -> None:
    with on_stage() as stage:
        stage.loader.failures["m", 2] = [fetch_error()]
        stage.say(announcement("m", 1), announcement("m", 2))
        stage.wait_state(1, State.READY)
        assert stage.serving() == [1]
        stage.say(retrial("m", 2, 1))
        stage.wait_state(1, State.UNLOADED)
        assert stage.serving() == [2]


def test_a_stand_in_is_not_interrupted_by_retries_of_the_newest() -> None:
    with on_stage(SOON) as stage:
        gate = stage.loader.hold("m", 1, None)
        stage.loader.failures["m", 2] = [fetch_error() for _ in range(1000)]
        stage.say(announcement("m", 1), announcement("m", 2))
        wait_until(lambda: stage.states(2).count(State.FAILED) >= 4 and ("m", 1) in stage.loader.calls)
        assert stage.loader.calls.count(("m", 1)) == 1
        gate.set()
        stage.wait_state(1, State.READY)
        assert stage.serving() == [1]


def test_a_defect_while_loading_is_an_error_of_this_model_alone() -> None:
    with on_stage() as stage:
        stage.loader.failures["m", 1] = [ZeroDivisionError("oops")]
        stage.say(announcement("m", 1), announcement("other", 1))
        stage.wait_state(1, State.FAILED)
        assert stage.last(1).error.kind == status_pb2.INTERNAL
        assert stage.last(1).error.message == "ZeroDivisionError: oops"
        stage.wait_state(1, State.READY, "other")


def test_a_failure_behind_a_newer_decision_is_not_told() -> None:
    with on_stage() as stage:
        gate = stage.loader.hold("m", 1, State.FETCHING)
        stage.loader.failures["m", 1] = [fetch_error()]
        stage.say(announcement("m", 1))
        wait_until(lambda: stage.loader.calls == [("m", 1)])
        stage.say(announcement("m", 2))
        stage.wait_state(2, State.READY)
        gate.set()
        wait_until(lambda: stage.loader.not_wanted == [("m", 1)])
        stage.wait_handled()
        assert State.FAILED not in stage.states(1)
