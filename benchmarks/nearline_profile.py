"""Where the time of the near-line loop goes, without a broker: `python -m benchmarks.targets profile`.

Steps a worker by hand through the events that P5 uses, once to take the CPU time of each, and once under cProfile,
whose own cost is then left out by giving shares of the time.
"""

import argparse
import cProfile
import pstats
import tempfile
import time
from pathlib import Path

from benchmarks.memory_bus import MemoryBus
from benchmarks.result import Result, say
from benchmarks.shop import Events, items, model
from protos.nearline.v1 import status_pb2
from publisher.api import publish
from serving.nearline.consuming import Consumer
from serving.node.identity import new_identity
from serving.node.nearline import build_nearline
from serving.settings import Settings
from serving.store.connect import connect_writer
from serving.supervisor.child import spare_collector
from serving.telemetry.logs import configure_logs

_BATCH = 4096
_SHOWN = 24


def main() -> None:
    """Measure, and print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--durability", choices=("batch", "process"), default="batch")
    asked = parser.parse_args()
    configure_logs("human", "error")
    plain_us, _ = _run(asked.events, asked.durability, None)
    profile = cProfile.Profile()
    _run(asked.events, asked.durability, profile)
    stats = pstats.Stats(profile)
    rows = sorted(stats.stats.items(), key=lambda item: -item[1][2])  # type: ignore[attr-defined]
    total = sum(row[1][2] for row in rows)
    top = {f"{Path(name[0]).name}:{name[2]}": round(row[2] / total, 3) for name, row in rows[:_SHOWN]}
    for name, share in top.items():
        say(f"{share:6.1%}  {name}")
    Result(
        target="profile",
        what="CPU of the near-line loop an event, and the shares of its functions' own time",
        value=plain_us,
        unit="us",
        required="none",
        met=True,
        details={"events": asked.events, "durability": asked.durability, "shares": top},
    ).show()


def _run(events: int, durability: str, profile: cProfile.Profile | None) -> tuple[float, int]:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.model_validate({"data_dir": folder, "durability": durability})
        publish("shop", model(), items=items(), settings=settings)
        topic = settings.topics.events.name
        bus = MemoryBus(topic, settings.event_partitions, list(Events(events).records()), time.time_ns() // 1_000_000)
        process = build_nearline(settings, new_identity(settings, "profiled", status_pb2.NEARLINE), events=lambda: bus)
        process.models.start()
        process.models.deployer.wait_settled(60)
        store = connect_writer(settings.store, settings.data_dir, settings.topic_prefix, durability=settings.durability)
        consumer = Consumer(bus, store, "profiled", settings.topics, process.worker.engine)
        consumer.step(_BATCH)
        spare_collector()
        steps = events // _BATCH - 1
        began = time.process_time()
        if profile is not None:
            profile.enable()
        for _ in range(steps):
            consumer.step(_BATCH)
        if profile is not None:
            profile.disable()
        used = time.process_time() - began
        consumer.close()
        process.models.stop()
        process.worker.engine.lanes.close()
        store.close()
    return used / (steps * _BATCH) * 1e6, steps


if __name__ == "__main__":
    main()
