"""Which load of predictions that were computed elsewhere is seen."""

import pytest

from protos.records import BulkLoad
from serving.models.bulk import seen_load
from serving.models.lifecycle import State
from tests.builders.ledger import announcement, blocking, bulk_load, bulk_shown
from tests.models.stage import Stage, on_stage

LOADS = {number: BulkLoad(number, 1, "d", "uri", f"{number}", 1, 1) for number in (1, 2, 3)}


@pytest.mark.parametrize(
    ("shown", "now", "there", "seen"),
    [
        (0, 0, {1, 2, 3}, 0),
        (0, 3, {1, 2, 3}, 0),  # none is to be seen: at once
        (1, 0, set(), 0),
        (1, 0, {1}, 1),
        (2, 1, {1}, 1),  # the one before stays until all of the next is there
        (2, 1, {1, 2}, 2),
        (2, 2, set(), 2),
        (1, 2, {1, 2}, 1),  # the way back
        (1, 2, set(), 2),
        (2, 0, {1}, 1),  # a worker that starts in between
        (3, 0, {1}, 0),
    ],
)
def test_all_or_nothing(shown: int, now: int, there: set[int], seen: int) -> None:
    found = seen_load(LOADS, shown, LOADS.get(now), lambda load: load.number in there)
    assert found == LOADS.get(seen)


def test_the_table_flips_when_every_shard_has_the_load_and_not_before() -> None:
    with on_stage() as stage:
        stage.say(announcement(), bulk_load(number=1), bulk_shown(number=1))
        stage.wait_state(1, State.READY)
        assert _seen(stage) == 0
        stage.imported = {1}
        stage.deployer.refilled("m")
        assert _seen(stage) == 1
        stage.say(bulk_load(number=2), bulk_shown(epoch=2, number=2))
        assert _seen(stage) == 1
        stage.imported = {1, 2}
        stage.deployer.refilled("m")
        assert _seen(stage) == 2
        stage.say(bulk_shown(epoch=3, number=1))
        assert _seen(stage) == 1
        stage.say(bulk_shown(epoch=4, number=0))
        assert _seen(stage) == 0


def test_a_blocking_is_in_the_table_at_once() -> None:
    with on_stage() as stage:
        stage.say(announcement())
        stage.wait_state(1, State.READY)
        stage.say(blocking("m", a=0))
        stage.wait_handled()
        assert stage.table.lookup("m").blocked.hides("a", 1)
        stage.say(blocking("m", "a"))
        stage.wait_handled()
        assert not stage.table.lookup("m").blocked.hides("a", 1)


def _seen(stage: Stage) -> int:
    stage.wait_handled()
    bulk = stage.table.current["m"].bulk
    return bulk.number if bulk else 0
