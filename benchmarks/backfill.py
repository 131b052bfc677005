"""How fast a new version gets predictions for the entities that are there: entities a second, without and with events.

    python -m benchmarks.backfill [--entities N]

The embedded bus and LMDB; the node on one core. A first version is filled by events, then a second is published, and
the time until its last mark is gone is taken. Reference: what the same run needed to predict as events came in.
"""

import argparse
import tempfile
import time
from pathlib import Path

from benchmarks.nearline_loop import consumed
from benchmarks.nodes import CLIENT_CORE, node, pin
from benchmarks.result import Result, say
from benchmarks.shop import Events, items, model
from publisher.api import publish
from serving.bus.connect import connect_bus
from serving.models.places import FILLS, version_key
from serving.nearline.fill_record import FillRecord
from serving.settings import Settings
from serving.store.connect import connect_writer
from serving.store.port import StoreWriter

_LOOK_S = 0.01
_BATCH = 5_000


def main() -> None:
    """Measure, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entities", type=int, default=50_000)
    asked = parser.parse_args()
    pin(CLIENT_CORE)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.model_validate({"data_dir": Path(folder), "workers": 1})
        publish("shop", model(), items=items(), settings=settings)
        store = connect_writer(settings.store, settings.data_dir, settings.topic_prefix, durability=settings.durability)
        try:
            with node(settings):
                events = _fill(settings, store, asked.entities)
                began = time.perf_counter()
                announced = publish("shop", model(seed=1), items=items(), settings=settings)
                key = version_key("shop", announced.version, announced.digest)
                total = _wait_filled(store, key, settings.event_partitions)
                seconds = time.perf_counter() - began
        finally:
            store.close()
    say(f"{total:,} entities in {seconds:.2f} s from the announcement on: {total / seconds:,.0f}/s")
    Result(
        target="backfill",
        what="entities a second that get a prediction of a new version",
        value=total / seconds,
        unit="entities/s",
        reference=events,
        required="none",
        met=True,
        details={"entities": total, "seconds": seconds, "reference": "events/s of the first version"},
    ).show()


def _fill(settings: Settings, store: StoreWriter, entities: int) -> float:
    bus = connect_bus(settings)
    topic = settings.topics.events.name
    records = list(Events(entities * 2, entities=entities).records())
    for start in range(0, len(records), _BATCH):
        bus.append_many(topic, records[start : start + _BATCH])
    log = bus.identity(topic)
    bus.close()
    first, began = consumed(store, log, settings.event_partitions), time.perf_counter()
    while (last := consumed(store, log, settings.event_partitions)) < len(records):
        time.sleep(_LOOK_S)
    return (last - first) / (time.perf_counter() - began)


def _wait_filled(store: StoreWriter, key: bytes, shards: int) -> int:
    while True:
        stored = [store.read(shard, FILLS, [key])[0] for shard in range(shards)]
        records = [FillRecord.decode(value) for value in stored if value is not None]
        if len(records) == shards and all(record.known and not record.left for record in records):
            return sum(record.total for record in records)
        time.sleep(_LOOK_S)


if __name__ == "__main__":
    main()
