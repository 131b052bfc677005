"""Following the ledger: from disk at once, from the bus when it is there, and never taking anything away."""

from pathlib import Path

from protos.nearline.v1 import status_pb2
from protos.records import MILLION
from serving.subscriptions.checkpoint import CheckpointFile
from tests.builders.buses import TOPICS, append
from tests.builders.ledger import announcement, retirement, retrial, rollout
from tests.builders.waiting import wait_until
from tests.subscriptions.scene import LEDGER, Scene, following


def test_what_is_said_is_handed_over(tmp_path: Path) -> None:
    with following(tmp_path) as scene:
        scene.say(announcement("m", 1))
        wait_until(lambda: scene.versions() == {1})
        scene.say(announcement("m", 2), rollout("m", 1, {1: MILLION}))
        wait_until(lambda: scene.models["m"].epoch == 1)
        assert scene.announced == [("m", 1), ("m", 2)]
        assert scene.follower.degraded_since_ms == 0


def test_it_is_caught_up_when_all_that_was_there_at_the_start_is_handed_over(tmp_path: Path) -> None:
    append(tmp_path, LEDGER, announcement("m", 1), announcement("m", 2))
    with following(tmp_path) as scene:
        wait_until(lambda: scene.caught_up)
        assert scene.versions() == {1, 2}


def test_an_empty_ledger_is_caught_up_at_once(tmp_path: Path) -> None:
    with following(tmp_path) as scene:
        wait_until(lambda: scene.caught_up)
        assert scene.models == {}


def test_what_was_handed_over_does_not_change_later(tmp_path: Path) -> None:
    with following(tmp_path) as scene:
        scene.say(announcement("m", 1))
        wait_until(lambda: scene.versions() == {1})
        before = scene.models["m"]
        scene.say(announcement("m", 2))
        wait_until(lambda: scene.versions() == {1, 2})
        assert set(before.versions) == {1}


def test_a_poison_record_is_told_once_with_its_offset_and_the_rest_goes_on(tmp_path: Path) -> None:
    with following(tmp_path) as scene:
        scene.say(announcement("m", 1), (b"m", b"\xff\xff"), announcement("m", 1, content="other"))
        scene.say(announcement("m", 2))
        wait_until(lambda: scene.versions() == {1, 2})
    assert [(offset, verdict.kind) for offset, verdict in scene.faults] == [
        (1, status_pb2.UNDECODABLE),
        (2, status_pb2.CONFLICT),
    ]
    assert (scene.faults[1][1].model, scene.faults[1][1].version) == ("m", 1)
    with following(tmp_path) as again:
        wait_until(lambda: again.caught_up)
        assert again.faults == []


def test_records_that_lost_or_repeat_are_no_faults(tmp_path: Path) -> None:
    with following(tmp_path) as scene:
        scene.say(announcement("m", 1), announcement("m", 1), rollout("m", 1, {1: MILLION}), rollout("m", 1))
        scene.say(retrial("m", 1, 1), retirement("m", 1))
        wait_until(lambda: scene.models and scene.models["m"].retired)
        assert scene.faults == []


def test_a_restart_begins_with_the_checkpoint_before_the_bus_was_asked(tmp_path: Path) -> None:
    with following(tmp_path) as scene:
        scene.say(announcement("m", 1), rollout("m", 1, {1: MILLION}))
        wait_until(lambda: scene.models and scene.models["m"].epoch == 1)
    again = Scene(tmp_path)
    again.connect.away = True
    again.follower.start()
    try:
        assert again.models == scene.models
        assert again.announced == []
    finally:
        again.follower.stop()


def test_without_the_bus_what_is_on_disk_is_good_enough_and_the_bus_is_caught_up_with_later(tmp_path: Path) -> None:
    with following(tmp_path) as scene:
        scene.say(announcement("m", 1))
        wait_until(lambda: scene.versions() == {1})
    with following(tmp_path, away=True) as scene:
        wait_until(lambda: scene.follower.degraded_since_ms)
        wait_until(lambda: scene.caught_up)
        assert scene.versions() == {1}
        scene.say(announcement("m", 2))
        scene.connect.away = False
        wait_until(lambda: scene.versions() == {1, 2})
        wait_until(lambda: not scene.follower.degraded_since_ms)


def test_without_bus_and_disk_nothing_is_caught_up(tmp_path: Path) -> None:
    with following(tmp_path, away=True) as scene:
        wait_until(lambda: scene.follower.degraded_since_ms)
        assert scene.caught_up == 0
        scene.connect.away = False
        wait_until(lambda: scene.caught_up)


def test_a_damaged_checkpoint_means_a_replay_to_the_same_state(tmp_path: Path) -> None:
    with following(tmp_path) as scene:
        scene.say(announcement("m", 1), announcement("m", 2), retirement("m", 1))
        wait_until(lambda: scene.models and scene.models["m"].retired)
    path = tmp_path / "checkpoints" / "w0"
    path.write_bytes(path.read_bytes()[:-1])
    with following(tmp_path) as again:
        wait_until(lambda: again.caught_up)
        assert again.models == scene.models


def test_a_topic_that_was_created_again_takes_nothing_away(tmp_path: Path) -> None:
    with following(tmp_path) as scene:
        scene.say(announcement("m", 1), announcement("m", 2))
        wait_until(lambda: scene.versions() == {1, 2})
    (tmp_path / "bus").rename(tmp_path / "lost")
    with following(tmp_path) as scene:
        wait_until(lambda: scene.caught_up)
        assert scene.versions() == {1, 2}
        scene.say(announcement("m", 3))
        wait_until(lambda: scene.versions() == {1, 2, 3})
    with following(tmp_path, away=True) as again:
        assert again.versions() == {1, 2, 3}


def test_the_number_of_shards_is_known_without_the_bus(tmp_path: Path) -> None:
    with following(tmp_path) as scene:
        scene.say(announcement("m", 1))
        wait_until(lambda: scene.versions() == {1})
        assert scene.follower.event_partitions == TOPICS.event_partitions
    other = CheckpointFile(tmp_path / "checkpoints" / "w0")
    other.load()
    assert other.event_partitions == TOPICS.event_partitions
