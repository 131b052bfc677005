"""P5: events a second through real Kafka to stored predictions, on one core, against the loop without a broker.

    python -m benchmarks.nearline_throughput [--events N] [--durability batch|process]

The topic is filled beforehand. The near-line worker has one core to itself; the rest of the node, which is idle, and
Kafka are on the other. Model and events: shop.py.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.nearline_loop import consumed
from benchmarks.nodes import CLIENT_CORE, SERVER_CORE, move, nearline_pid, node, pin
from benchmarks.result import Result, say
from benchmarks.shop import Events, items, model
from publisher.api import publish
from serving.bus.connect import connect_bus
from serving.settings import Settings
from serving.store.connect import connect_writer
from tests.servers.kafka.broker import KafkaBroker

REQUIRED_PER_S = 60_000
REQUIRED_RATIO = 0.6
_BATCH = 5_000
_LOOK_S = 0.02


def main() -> None:
    """Measure, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--durability", choices=("batch", "process"), default="batch")
    asked = parser.parse_args()
    pin(CLIENT_CORE)
    loop = _without_broker(asked.events, asked.durability)
    say(f"loop without a broker: {loop['events_per_s']:,.0f}/s, {loop['cpu_us']:.1f} us of CPU an event")
    through = _through_kafka(asked.events, asked.durability)
    say(f"through Kafka: {through['events_per_s']:,.0f}/s, {through['cpu_us']:.1f} us of CPU an event")
    rate = through["events_per_s"]
    Result(
        target="P5",
        what="events a second through Kafka to stored predictions, one core",
        value=rate,
        unit="events/s",
        reference=loop["events_per_s"],
        required=f">= {REQUIRED_PER_S} and >= {REQUIRED_RATIO} of the loop without a broker",
        met=rate >= REQUIRED_PER_S and rate >= REQUIRED_RATIO * loop["events_per_s"],
        details={
            "durability": asked.durability,
            "events": asked.events,
            "loop_cpu_us": loop["cpu_us"],
            "cpu_us": through["cpu_us"],
        },
    ).show()


def _without_broker(events: int, durability: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder))
        publish("shop", model(), items=items(), settings=settings)
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.nearline_loop", folder, str(events)],
            env={**os.environ, "NEARLINE_DURABILITY": durability},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
            preexec_fn=lambda: pin(SERVER_CORE),
        )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _through_kafka(events: int, durability: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder, KafkaBroker() as broker:
        settings = Settings.model_validate(
            {
                "data_dir": folder,
                "bus": f"kafka://{broker.address}",
                "artifacts": (Path(folder) / "artifacts").as_uri(),
                "durability": durability,
                "workers": 1,
            }
        )
        _fill(settings, events)
        publish("shop", model(), items=items(), settings=settings)
        store = connect_writer(settings.store, settings.data_dir, settings.topic_prefix, durability=settings.durability)
        bus = connect_bus(settings)
        log = bus.identity(settings.topics.events.name)
        shards = settings.event_partitions
        try:
            with node(settings, cores=(CLIENT_CORE,)):
                move(nearline_pid(settings), SERVER_CORE)
                first = 0
                while not first:
                    time.sleep(_LOOK_S)
                    first = consumed(store, log, shards)
                worker = psutil.Process(nearline_pid(settings))
                began, used = time.perf_counter(), sum(worker.cpu_times()[:2])
                last = first
                while last < events:
                    time.sleep(_LOOK_S)
                    last = consumed(store, log, shards)
                seconds, cpu = time.perf_counter() - began, sum(worker.cpu_times()[:2]) - used
                return {"events_per_s": (last - first) / seconds, "cpu_us": cpu / (last - first) * 1e6}
        finally:
            store.close()
            bus.close()


def _fill(settings: Settings, events: int) -> None:
    bus = connect_bus(settings)
    bus.ensure_topics(settings.topics.all())
    waiting: list[tuple[bytes | None, bytes | None]] = []
    for record in Events(events).records():
        waiting.append(record)
        if len(waiting) == _BATCH:
            bus.append_many(settings.topics.events.name, waiting)
            waiting = []
    if waiting:
        bus.append_many(settings.topics.events.name, waiting)
    bus.close()
    say(f"filled the topic with {events:,} events")


if __name__ == "__main__":
    main()
