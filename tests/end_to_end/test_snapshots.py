"""Nodes with stores of their own: a new one begins with another's snapshot and replays the rest."""

import shutil
import time
import uuid
from collections.abc import Iterable
from pathlib import Path

import pytest

from protos.nearline.v1 import recommender_pb2
from serving.bus.port import Bus
from serving.models.places import ERASED, FILLS, PREDICTIONS, STATES
from serving.recipes.event import encode_event
from serving.settings import Settings
from serving.store.connect import connect_writer
from tests.end_to_end.client import NEARLINE, recommend
from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.models import publish_recommender
from tests.end_to_end.nearline.outcome import wait_settled
from tests.end_to_end.waiting import wait_until
from tests.store.contents import ShardContents, contents

ENTITIES = [f"e{number}" for number in range(30)]
WORKERS = {"workers": "1", "nearline_workers": "1", "event_partitions": "2"}


@pytest.fixture
def cluster(tmp_path: Path, kafka_servers: str) -> Installation:
    bus = {"bus": f"kafka://{kafka_servers}", "topic_prefix": f"t{uuid.uuid4().hex[:10]}."}
    return Installation(tmp_path, {**bus, **WORKERS})


@pytest.mark.kafka
def test_a_new_node_restores_replays_the_rest_and_holds_what_the_first_one_does(cluster: Installation) -> None:
    publish_recommender(cluster, "shop", 1)
    bus = cluster.bus()
    with Node(cluster, "one") as one:
        _happen(bus, cluster, ENTITIES, "v1-1")
        wait_settled(cluster.settings("one"))
        cluster.ask("erase", "e0", "--yes")
        wait_settled(cluster.settings("one"))
        taken = cluster.ask("snapshot")["snapshot"]
        assert taken["events"] == _texts(bus.end_offsets(cluster.settings().topics.events.name))

        _forget_records(cluster, taken["events"])  # what is older comes from the snapshot, or from nowhere
        _happen(bus, cluster, ENTITIES[10:20], "v1-2")
        cluster.ask("erase", "e1", "--yes")
        wait_settled(cluster.settings("one"))
        assert one.events("snapshot.restored") == []

    with Node(cluster, "two") as two:
        wait_settled(cluster.settings("two"))
        (restored,) = two.events("snapshot.restored")
        assert (restored["snapshot"], restored["from_node"]) == (taken["name"], "one")
        assert (restored["events"], restored["commands"]) == (taken["events"], taken["commands"])
        assert recommend(two.address, "shop", "e29").source == NEARLINE
        assert [recommend(two.address, "shop", who).source == NEARLINE for who in ("e0", "e1")] == [False, False]
    bus.close()

    first, second = _contents(cluster.settings("one")), _contents(cluster.settings("two"))
    assert second == first
    assert sum(len(shard.spaces[STATES]) for shard in second.values()) == len(ENTITIES) - 2
    assert sum(len(shard.spaces.get(ERASED, {})) for shard in second.values()) == 2


def test_a_node_takes_snapshots_by_itself_and_begins_with_one_when_its_store_is_lost(tmp_path: Path) -> None:
    installation = Installation(tmp_path, {**WORKERS, "snapshot_every_s": "1", "snapshots_kept": "2"})
    publish_recommender(installation, "shop", 1)
    settings, bus = installation.settings(), installation.bus()
    with Node(installation) as node:
        _happen(bus, installation, ENTITIES, "v1-1")
        wait_settled(settings)
        whole = _texts(bus.end_offsets(settings.topics.events.name))
        taken = len(node.events("snapshot.taken"))
        wait_until(lambda: len(node.events("snapshot.taken")) > taken + 2, "one after another, of all that there is")
        assert installation.ask("snapshots")["snapshots"][0]["events"] == whole
        assert len(installation.ask("snapshots")["snapshots"]) <= 3
    bus.close()
    before = _contents(settings)
    shutil.rmtree(settings.data_dir / "store")
    with Node(installation.having(snapshot_every_s="0")) as node:
        (restored,) = node.events("snapshot.restored")
        assert restored["events"] == whole
        assert recommend(node.address, "shop", "e7").source == NEARLINE
        wait_settled(settings)
    assert _contents(settings) == before


def test_a_snapshot_that_cannot_be_taken_disturbs_nobody_and_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "snapshots").write_text("in the way")
    installation = Installation(tmp_path, {**WORKERS, "snapshot_every_s": "1"})
    publish_recommender(installation, "shop", 1)
    bus = installation.bus()
    with Node(installation) as node:
        _happen(bus, installation, ENTITIES, "v1-1")
        wait_settled(installation.settings())
        wait_until(lambda: len(node.events("snapshot.failed")) > 1, "told, and tried again")
        assert "artifact store" in node.events("snapshot.failed")[0]["error"]
        assert recommend(node.address, "shop", "e7").source == NEARLINE
        (tmp_path / "artifacts" / "snapshots").unlink()
        wait_until(lambda: node.events("snapshot.taken"), "taken once it can be")
        assert node.events("worker.died") == []
    bus.close()


def _happen(bus: Bus, installation: Installation, entities: Iterable[str], item: str) -> None:
    topic = installation.settings().topics.events.name
    now_ms = time.time_ns() // 1_000_000
    bus.append_many(
        topic, [encode_event(who, {"item": item}, kind="purchase", ts_ms=now_ms, event_id=item) for who in entities]
    )


def _texts(offsets: dict[int, int]) -> dict[str, int]:
    return {str(partition): offset for partition, offset in offsets.items()}


def _forget_records(installation: Installation, events: dict[str, int]) -> None:
    """As the topic's retention would."""
    from kafka import KafkaAdminClient, TopicPartition  # noqa: PLC0415 - it warns when imported, see conftest.py

    settings = installation.settings()
    admin = KafkaAdminClient(bootstrap_servers=settings.bus.removeprefix("kafka://"))
    topic = settings.topics.events.name
    admin.delete_records({TopicPartition(topic, int(partition)): offset for partition, offset in events.items()})
    admin.close()


def _contents(settings: Settings) -> dict[int, ShardContents]:
    """All of the store but the clock's marks: when a prediction was computed, and when filling began."""
    writer = connect_writer("lmdb", settings.data_dir, "")
    found = contents(writer, range(settings.event_partitions))
    writer.close()
    for shard in found.values():
        shard.spaces.pop(FILLS, None)
        for name, entries in shard.spaces.items():
            if name[:1] == PREDICTIONS:
                shard.spaces[name] = {entity: _untimed(value) for entity, value in entries.items()}
    return found


def _untimed(stored: bytes) -> bytes:
    said = recommender_pb2.RecommendResponse.FromString(stored[8:])
    said.computed_at_ms = 0
    return said.SerializeToString(deterministic=True)
