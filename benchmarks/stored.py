"""Predictions of many entities, written straight into a node's store: in seconds, where events would take minutes."""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing

from protos.names import entity_key
from protos.partition import partition_of
from serving.bus.connect import connect_bus
from serving.errors import PositionConflictError
from serving.models.places import PREDICTIONS
from serving.settings import Settings
from serving.store.connect import connect_writer
from serving.store.port import Change, StoreWriter


def store_predictions(settings: Settings, known: Sequence[str], others: Sequence[str]) -> None:
    """Give `others` the predictions that `known` have, in turns; there is one model, with one version."""
    with closing(connect_bus(settings)) as bus:
        partitions = bus.partitions(settings.topics.events.name)
    writer = connect_writer(settings.store, settings.data_dir, settings.topic_prefix, durability=settings.durability)
    try:
        values = [value for entity in known for value in _stored(writer, entity_key(entity), partitions)]
        changes: dict[int, list[Change]] = defaultdict(list)
        for number, entity in enumerate(others):
            key = entity_key(entity)
            space, value = values[number % len(values)]
            changes[partition_of(key, partitions)].append(Change(space, key, value))
        for shard, its in changes.items():
            _write(writer, shard, its)
    finally:
        writer.close()


def _stored(writer: StoreWriter, key: bytes, partitions: int) -> list[tuple[bytes, bytes]]:
    """Return the prediction, and the space that it is in."""
    shard = partition_of(key, partitions)
    spaces = [space for space in writer.spaces(shard) if space.startswith(PREDICTIONS)]
    found = ((space, writer.read(shard, space, [key])[0]) for space in spaces)
    return [(space, value) for space, value in found if value is not None]


def _write(writer: StoreWriter, shard: int, changes: Sequence[Change]) -> None:
    """Write beside the near-line worker, which may move the shard's cursor meanwhile."""
    while True:
        cursor = writer.cursor(shard)
        assert cursor is not None  # noqa: S101 - `known` are in it
        try:
            writer.write(shard, cursor, cursor, changes)
        except PositionConflictError:
            continue
        return
