"""Other keys are trusted while it runs: what nobody who is trusted has signed serves no longer."""

from collections.abc import Iterable

import pytest

from protos.judging import Outcome
from protos.ledger import World
from protos.nearline.v1 import status_pb2
from protos.records import ModelRecord
from serving.errors import ModelError
from serving.models.lifecycle import State
from serving.models.loading import Backoff
from serving.models.policy import VOID
from tests.builders.ledger import Entry, announcement
from tests.builders.waiting import wait_until
from tests.models.stage import Stage, fetch_error, on_stage


def say_instead(stage: Stage, entries: Iterable[Entry]) -> None:
    """Hand over a ledger of nothing but that, as a follower does when it trusts others."""
    stage.world = World()
    for entry in entries:
        assert stage.world.apply(stage.world.position, *entry).outcome is Outcome.ACCEPTED
    stage.deployer.follow({"m": stage.world.models.get("m", ModelRecord()).snapshot()}, {})


def distrust(stage: Stage, *versions: int) -> None:
    stage.loader.distrusted = set(versions)
    stage.deployer.trust_changed()


def test_a_version_that_nobody_trusted_has_announced_is_unloaded_although_nothing_replaces_it() -> None:
    with on_stage() as stage:
        stage.say(announcement("m", 1))
        stage.wait_state(1, State.READY)
        say_instead(stage, [])
        stage.wait_state(1, State.UNLOADED)
        assert (stage.serving(), stage.last(1).reason) == ([], VOID)


def test_an_older_version_that_still_counts_takes_over() -> None:
    with on_stage() as stage:
        stage.say(announcement("m", 1), announcement("m", 2))
        stage.wait_state(2, State.READY)
        say_instead(stage, [announcement("m", 1)])
        stage.wait_state(1, State.READY)
        wait_until(lambda: stage.serving() == [1])
        assert stage.states(2)[-2:] == [State.DRAINING, State.UNLOADED]


def test_another_bundle_of_the_same_number_is_loaded_in_its_place() -> None:
    with on_stage() as stage:
        stage.say(announcement("m", 1, content="forged"))
        stage.wait_state(1, State.READY)
        forged = stage.last(1).digest
        say_instead(stage, [announcement("m", 1, content="true")])
        wait_until(lambda: stage.states(1).count(State.READY) == 2)
        assert stage.states(1)[-8:][:2] == [State.DRAINING, State.UNLOADED]
        assert stage.last(1).digest == stage.world.models["m"].versions[1].digest != forged
        assert stage.serving() == [1]


def test_another_bundle_of_the_same_number_is_loaded_where_the_first_had_failed_or_was_being_loaded() -> None:
    with on_stage() as stage:
        stage.loader.failures["m", 1] = [fetch_error()]
        stage.say(announcement("m", 1, content="forged"))
        stage.wait_state(1, State.FAILED)
        gate = stage.loader.hold("m", 1, State.LOADING)
        say_instead(stage, [announcement("m", 1, content="second")])
        stage.wait_state(1, State.VERIFYING)
        say_instead(stage, [announcement("m", 1, content="third")])
        wait_until(lambda: State.SUPERSEDED in stage.states(1))
        gate.set()
        stage.wait_state(1, State.READY)
        assert stage.last(1).digest == stage.world.models["m"].versions[1].digest
        wait_until(lambda: stage.loader.not_wanted == [("m", 1)])


def test_a_bundle_that_no_trusted_key_has_signed_any_more_is_rejected_at_once_and_an_older_one_serves() -> None:
    with on_stage() as stage:
        stage.say(announcement("m", 1), announcement("m", 2))
        stage.wait_state(2, State.READY)
        gate = stage.loader.hold("m", 1, State.FETCHING)
        distrust(stage, 2)
        stage.wait_state(2, State.REJECTED)
        assert stage.last(2).error.kind == status_pb2.SIGNATURE
        assert stage.serving() == [], "it does not serve until another one can"
        gate.set()
        stage.wait_state(1, State.READY)
        assert stage.serving() == [1]


def test_a_bundle_that_was_refused_for_its_signature_is_tried_by_itself_when_keys_change() -> None:
    with on_stage() as stage:
        stage.loader.failures["m", 1] = [ModelError(status_pb2.SIGNATURE, "by nobody", rejected=True)]
        stage.loader.failures["m", 2] = [ModelError(status_pb2.POLICY, "outside", rejected=True)]
        stage.say(announcement("m", 1), announcement("m", 2))
        stage.wait_state(1, State.REJECTED)
        distrust(stage)
        stage.wait_state(1, State.READY)
        stage.wait_handled()
        assert stage.states(2)[-1] is State.REJECTED, "what was refused for another reason stays so"


def test_a_bundle_that_is_refused_just_when_keys_change_is_judged_by_the_new_ones() -> None:
    with on_stage() as stage:
        stage.loader.failures["m", 1] = [ModelError(status_pb2.SIGNATURE, "by nobody", rejected=True)]
        gate = stage.loader.hold("m", 1, State.FETCHING)
        stage.say(announcement("m", 1))
        wait_until(lambda: stage.loader.calls)
        distrust(stage)
        stage.wait_handled()
        gate.set()
        stage.wait_state(1, State.READY)


def test_a_bundle_that_was_being_loaded_when_keys_changed_is_judged_by_the_new_ones() -> None:
    with on_stage() as stage:
        gate = stage.loader.hold("m", 1, State.WARMING)
        stage.say(announcement("m", 1))
        stage.wait_state(1, State.LOADING)
        distrust(stage, 1)
        stage.wait_handled()
        gate.set()
        stage.wait_state(1, State.REJECTED)
        assert stage.serving() == []


def test_a_key_that_comes_back_while_its_version_drains_has_it_loaded_again() -> None:
    with on_stage() as stage:
        stage.say(announcement("m", 1), announcement("m", 2))
        stage.wait_state(2, State.READY)
        with stage.table.lease("m"):
            distrust(stage, 2)
            stage.wait_state(2, State.DRAINING)
            distrust(stage)
            stage.wait_handled()
        stage.wait_state(2, State.READY)


def test_a_check_that_cannot_be_made_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.models.loading._CHECK_AGAIN", Backoff(0.001, 0.001))
    with on_stage() as stage:
        stage.say(announcement("m", 1))
        stage.wait_state(1, State.READY)
        stage.loader.unchecked = [OSError("no room"), ModelError(status_pb2.FETCH, "away")]
        distrust(stage, 1)
        stage.wait_state(1, State.REJECTED)
        assert stage.loader.unchecked == []
