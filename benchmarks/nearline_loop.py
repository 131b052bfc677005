"""The near-line loop without a broker: `python -m benchmarks.nearline_loop DATA_DIR COUNT`, in a process of its own.

Prints one line of JSON: events a second, from the first write to the last.
"""

import json
import sys
import time
from pathlib import Path

from benchmarks.memory_bus import MemoryBus
from benchmarks.shop import Events
from protos.nearline.v1 import status_pb2
from serving.node.identity import new_identity
from serving.node.nearline import build_nearline
from serving.settings import Settings
from serving.store.connect import connect_writer
from serving.store.port import StoreWriter
from serving.supervisor.child import spare_collector

_WAIT_S = 0.002


def main() -> None:
    """Run it; the model has been published to the embedded bus of the folder."""
    settings = Settings(data_dir=Path(sys.argv[1]), log_level="error")
    count = int(sys.argv[2])
    topic = settings.topics.events.name
    records = list(Events(count).records())
    bus = MemoryBus(topic, settings.event_partitions, records, time.time_ns() // 1_000_000)
    process = build_nearline(settings, new_identity(settings, "loop", status_pb2.NEARLINE), events=lambda: bus)
    process.models.start()
    process.models.deployer.wait_settled(60)
    spare_collector()
    store = connect_writer(settings.store, settings.data_dir, settings.topic_prefix, durability=settings.durability)
    log = bus.identity(topic)
    process.worker.start()
    while not (first := consumed(store, log, settings.event_partitions)):
        time.sleep(_WAIT_S)
    began, used = time.perf_counter(), time.process_time()
    while (last := consumed(store, log, settings.event_partitions)) < count:
        time.sleep(_WAIT_S)
    seconds, cpu = time.perf_counter() - began, time.process_time() - used
    process.worker.stop()
    process.models.stop()
    store.close()
    found = {"events_per_s": (last - first) / seconds, "cpu_us": cpu / (last - first) * 1e6, "events": last - first}
    sys.stdout.write(json.dumps(found) + "\n")


def consumed(store: StoreWriter, log: str, shards: int) -> int:
    """Events that the store has taken in."""
    cursors = [store.cursor(shard) for shard in range(shards)]
    return sum(cursor.offset(log) or 0 for cursor in cursors if cursor)


if __name__ == "__main__":
    main()
