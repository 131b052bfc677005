"""The active table follows the ledger."""

import errno
import os
import sys

import pytest

from protos.nearline.v1 import status_pb2
from protos.records import MILLION, Share
from serving.errors import ModelError, NotFoundError
from serving.models.lifecycle import State
from serving.models.loading import Backoff
from tests.builders.ledger import announcement, retirement, retrial, rollout
from tests.builders.waiting import wait_until
from tests.models.stage import STEPS, FakeSession, fetch_error, on_stage, refusal


def test_a_version_is_loaded_step_by_step_and_then_serves() -> None:
    with on_stage() as stage:
        stage.say(announcement("m", 1))
        stage.wait_state(1, State.READY)
        assert stage.states(1) == [State.ANNOUNCED, *STEPS, State.READY]
        assert stage.serving() == [1]
        status = stage.last(1)
        assert (status.node, status.worker, status.incarnation, status.attempts) == ("n", "w0", "i", 1)
        assert status.digest == stage.world.models["m"].versions[1].digest


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere all threads of a process have one niceness")
def test_what_is_loaded_gives_way_to_answers_once_nobody_else_waits_for_it() -> None:
    with on_stage() as stage:
        before = os.getpriority(os.PRIO_PROCESS, 0)
        stage.say(announcement("m", 1))
        stage.wait_state(1, State.READY)
        assert stage.loader.niceness == {
            State.FETCHING: before, State.VERIFYING: before, State.LOADING: before, State.WARMING: max(10, before)
        }  # fmt: skip
        assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_a_system_that_forbids_to_give_way_loads_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError(errno.EPERM, "no")

    monkeypatch.setattr(os, "setpriority", forbidden)
    with on_stage() as stage:
        stage.say(announcement("m", 1))
        stage.wait_state(1, State.READY)


def test_the_newest_wins_and_versions_in_between_are_superseded_without_a_load() -> None:
    with on_stage() as stage:
        stage.say(*(announcement("m", version) for version in range(1, 6)))
        stage.wait_state(5, State.READY)
        stage.wait_handled()
        assert stage.loader.calls == [("m", 5)]
        for version in range(1, 5):
            assert stage.states(version) == [State.SUPERSEDED]
            assert stage.last(version).reason == "version 5 is newer"


def test_an_older_version_that_comes_late_is_superseded() -> None:
    with on_stage() as stage:
        stage.say(announcement("m", 5))
        stage.wait_state(5, State.READY)
        stage.say(announcement("m", 4))
        stage.wait_state(4, State.SUPERSEDED)
        assert (stage.loader.calls, stage.serving()) == ([("m", 5)], [5])


def test_a_held_version_is_ready_without_traffic_until_a_rollout_names_it() -> None:
    with on_stage() as stage:
        stage.say(announcement("m", 1), announcement("m", 2, held=True))
        stage.wait_state(2, State.READY)
        stage.wait_handled()
        assert (stage.last(2).held, stage.serving()) == (True, [1])
        with pytest.raises(NotFoundError):
            stage.table.acquire("m", version=2)
        stage.say(rollout("m", 1, {2: MILLION}))
        wait_until(lambda: stage.serving() == [2], "version 2 serves")
        stage.wait_handled()
        assert not stage.last(2).held
        assert stage.loader.calls.count(("m", 2)) == 1


def test_a_held_version_stays_ready_while_it_serves_elsewhere_and_serves_once_it_is_to_here() -> None:
    with on_stage(labels={"region": "us"}) as stage:
        stage.say(announcement("m", 1), announcement("m", 2, held=True))
        stage.wait_state(2, State.READY)
        stage.say(rollout("m", 1, {2: MILLION}, scopes=[{"region": "eu"}]))
        stage.wait_handled()
        assert (stage.last(2).held, stage.serving()) == (True, [1])
        stage.say(rollout("m", 2, {2: MILLION}, {2: MILLION}, scopes=[{"region": "eu"}, {"region": "us"}]))
        wait_until(lambda: stage.serving() == [2], "version 2 serves")
        stage.wait_handled()
        assert (stage.last(2).held, stage.loader.calls.count(("m", 2))) == (False, 1)


def test_a_held_version_below_the_newest_says_that_it_waits_for_a_rollout() -> None:
    with on_stage() as stage:
        stage.say(announcement("m", 1), announcement("m", 2, held=True), announcement("m", 3))
        stage.wait_state(2, State.SUPERSEDED)
        assert stage.last(2).reason == "held until a rollout names it"


def test_a_held_version_that_cannot_be_loaded_says_so_and_what_serves_goes_on() -> None:
    with on_stage() as stage:
        stage.loader.failures["m", 2] = [refusal()]
        stage.say(announcement("m", 1), announcement("m", 2, held=True))
        stage.wait_state(2, State.REJECTED)
        stage.wait_state(1, State.READY)
        assert stage.serving() == [1]


def test_a_version_that_fails_again_and_again_while_it_runs_is_replaced_by_the_one_below() -> None:
    with on_stage() as stage:
        stage.say(announcement("m", 1), announcement("m", 2))
        stage.wait_state(2, State.READY)
        loaded = stage.table.acquire("m")
        loaded.release()
        for _ in range(loaded.circuit.tolerance.failures):
            loaded.circuit.failed(ModelError(status_pb2.RUN, "NaN"), 1)
        stage.wait_state(2, State.REJECTED)
        assert stage.serving() == [1]
        assert status_pb2.ErrorKind.Name(stage.last(2).error.kind) == "RUN"
        assert "20 of 20 rows failed: NaN" in stage.last(2).error.message
        assert stage.loader.refused == [loaded.digest]
        stage.say(retrial("m", 2))
        stage.wait_state(2, State.READY)
        wait_until(lambda: stage.serving() == [2], "version 2 serves once more")


def test_a_disk_that_takes_no_verdict_does_not_keep_a_bad_version_serving() -> None:
    with on_stage() as stage:
        stage.say(announcement("m", 1), announcement("m", 2))
        stage.wait_state(2, State.READY)
        stage.loader.unwritable = OSError("no space left on device")
        loaded = stage.table.acquire("m")
        loaded.release()
        for _ in range(loaded.circuit.tolerance.failures):
            loaded.circuit.failed(ModelError(status_pb2.RUN, "NaN"), 1)
        stage.wait_state(2, State.REJECTED)
        assert stage.serving() == [1]


def test_a_load_that_a_newer_version_made_pointless_stops_at_its_next_step() -> None:
    with on_stage() as stage:
        gate = stage.loader.hold("m", 1, State.LOADING)
        stage.say(announcement("m", 1))
        stage.wait_state(1, State.VERIFYING)
        stage.say(announcement("m", 2))
        stage.wait_state(2, State.READY)
        assert stage.states(1)[-1] is State.SUPERSEDED
        gate.set()
        wait_until(lambda: stage.loader.not_wanted == [("m", 1)])
        assert stage.states(1)[-1] is State.SUPERSEDED


def test_a_load_that_ends_behind_a_newer_decision_is_discarded() -> None:
    with on_stage() as stage:
        late = stage.loader.hold("m", 1, None)
        slow = stage.loader.hold("m", 2, State.FETCHING)
        stage.say(announcement("m", 1))
        stage.wait_state(1, State.WARMING)
        stage.say(announcement("m", 2))
        stage.wait_state(1, State.SUPERSEDED)
        late.set()
        # Wanted again, by another decision, before the first load was heard of.
        stage.say(rollout("m", 1, {1: MILLION}))
        stage.wait_state(1, State.READY)
        slow.set()
        assert stage.loader.calls.count(("m", 1)) == 2
        assert stage.states(1).count(State.READY) == 1
        assert stage.serving() == [1]


def test_the_old_version_serves_until_the_new_one_is_ready_and_then_drains() -> None:
    with on_stage() as stage:
        stage.say(announcement("m", 1))
        stage.wait_state(1, State.READY)
        gate = stage.loader.hold("m", 2, None)
        stage.say(announcement("m", 2))
        stage.wait_state(2, State.WARMING)
        assert stage.serving() == [1]
        gate.set()
        stage.wait_state(1, State.UNLOADED)
        assert stage.serving() == [2]


def test_ready_is_told_after_the_swap_and_draining_before_it() -> None:
    with on_stage() as stage:
        stage.say(announcement("m", 1))
        stage.wait_state(1, State.READY)
        stage.say(announcement("m", 2))
        stage.wait_state(1, State.UNLOADED)
        served = {
            (r.version, State(r.state)): shares
            for r, shares in zip(stage.reports, stage.serving_when_reported, strict=True)
        }
        assert served[1, State.READY] == (Share(1, MILLION),)
        assert served[1, State.DRAINING] == (Share(1, MILLION),)
        assert served[2, State.READY] == (Share(2, MILLION),)


def test_draining_waits_for_the_last_lease_and_frees_on_the_deployers_thread() -> None:
    with on_stage() as stage:
        stage.say(announcement("m", 1))
        stage.wait_state(1, State.READY)
        with stage.table.lease("m") as loaded:
            session = loaded.session
            assert isinstance(session, FakeSession)
            stage.say(announcement("m", 2))
            stage.wait_state(2, State.READY)
            stage.wait_handled()
            assert (stage.states(1)[-1], session.closed_by) == (State.DRAINING, "")
        stage.wait_state(1, State.UNLOADED)
        assert session.closed_by == "deployer"


def test_a_slow_load_of_one_model_does_not_delay_another() -> None:
    with on_stage() as stage:
        stage.loader.hold("slow", 1, State.LOADING)
        stage.say(announcement("slow", 1), announcement("m", 1))
        stage.wait_state(1, State.READY)
        stage.wait_state(1, State.VERIFYING, "slow")
        assert stage.serving("slow") == []


def test_a_retired_version_is_taken_away() -> None:
    with on_stage() as stage:
        stage.say(announcement("m", 1))
        stage.wait_state(1, State.READY)
        stage.say(retirement("m", 1))
        stage.wait_state(1, State.UNLOADED)
        assert stage.serving() == []


def test_a_rollback_loads_what_was_unloaded() -> None:
    with on_stage() as stage:
        stage.say(announcement("m", 1))
        stage.wait_state(1, State.READY)
        stage.say(announcement("m", 2))
        stage.wait_state(1, State.UNLOADED)
        stage.say(rollout("m", 1, {1: MILLION}))
        stage.wait_state(2, State.UNLOADED)
        assert stage.serving() == [1]


def test_shares_are_served_side_by_side_where_the_labels_match() -> None:
    with on_stage(labels={"region": "eu"}) as stage:
        stage.say(
            announcement("m", 1),
            announcement("m", 2),
            rollout("m", 1, {2: 100_000, 1: 900_000}, {1: MILLION}, scopes=[{"region": "eu"}, {}]),
        )
        wait_until(lambda: stage.serving() == [2, 1])


def test_what_serves_stays_in_the_table_when_the_deployer_stops() -> None:
    with on_stage() as stage:
        stage.say(announcement("m", 1))
        stage.wait_state(1, State.READY)
    assert stage.serving() == [1]


def test_settled_is_when_the_ledger_was_read_and_everything_wanted_has_ended() -> None:
    with on_stage(Backoff(60, 60)) as stage:
        gate = stage.loader.hold("m", 1, None)
        stage.loader.failures["bad", 1] = [fetch_error()]
        stage.say(announcement("m", 1), announcement("bad", 1))
        stage.wait_state(1, State.WARMING)
        assert not stage.deployer.wait_settled(0.01)
        stage.deployer.caught_up()
        assert not stage.deployer.wait_settled(0.05)
        gate.set()
        assert stage.deployer.wait_settled(60)
        assert stage.last(1, "bad").state == status_pb2.FAILED
