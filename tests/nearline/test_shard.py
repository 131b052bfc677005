"""What is remembered of a shard between two writes."""

from pathlib import Path

from serving.models.places import HOUR_MS
from serving.nearline.shard import Shard
from serving.store.connect import connect_writer


def test_an_entity_is_ranked_once_an_hour_and_in_whatever_order_a_batch_has_the_hours(tmp_path: Path) -> None:
    store = connect_writer("lmdb", tmp_path, "t")
    shard = Shard(0, ("events", "commands"), store)
    assert shard.is_new_activity(b"ann", 5 * HOUR_MS)
    assert not shard.is_new_activity(b"ann", 5 * HOUR_MS + 1)
    assert shard.is_new_activity(b"ann", 6 * HOUR_MS)
    assert shard.is_new_activity(b"bob", 5 * HOUR_MS), "in the same batch, and last active an hour earlier"
    assert shard.is_new_activity(b"bob", 6 * HOUR_MS)
    assert not shard.is_new_activity(b"bob", 6 * HOUR_MS)
    store.close()
