"""P6: from appending an event to its new prediction being readable, at half of the peak load, through real Kafka.

    python -m benchmarks.nearline_freshness [--rate EVENTS_PER_S] [--seconds S]

Events come by a Poisson process in bursts (a millisecond's worth is appended together). The prediction of one entity in
so many is watched in the store: the time from just before its event is appended until an entry that was computed later
is read. One core for the node, the other for Kafka, the producer and the watcher. Model and events: shop.py.
"""

import argparse
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from benchmarks.nodes import CLIENT_CORE, node, pin
from benchmarks.result import Result, say
from benchmarks.shop import Events, items, model
from protos.partition import partition_of
from publisher.api import publish
from serving.bus.connect import connect_bus
from serving.bus.port import Bus
from serving.models.answers import computed_at
from serving.models.places import PREDICTIONS, version_key
from serving.settings import Settings
from serving.store.connect import connect_writer
from serving.store.port import StoreWriter
from tests.servers.kafka.broker import KafkaBroker

REQUIRED_P50_MS, REQUIRED_P99_MS = 15.0, 60.0
_EVERY_S = 0.02
_PATIENCE_S = 10.0
_WARM_S = 3.0


class Watcher:
    """Waits for the predictions of watched events, one at a time."""

    def __init__(self, store: StoreWriter, space: bytes, shards: int) -> None:
        self._store = store
        self._space = space
        self._shards = shards
        self.found_ms: list[float] = []
        self.lost = 0

    def watch(self, entity: bytes, appended_at: float, wall_ms: int) -> None:
        """Take down how long it takes from `appended_at`."""
        shard = partition_of(entity, self._shards)
        deadline = appended_at + _PATIENCE_S
        while time.perf_counter() < deadline:
            (stored,) = self._store.read(shard, self._space, [entity])
            if stored is not None and computed_at(stored) >= wall_ms:
                self.found_ms.append((time.perf_counter() - appended_at) * 1000)
                return
            time.sleep(0.0005)
        self.lost += 1


def main() -> None:
    """Measure, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=30_000.0, help="half of what P5 reached")
    parser.add_argument("--seconds", type=float, default=20.0)
    asked = parser.parse_args()
    pin(CLIENT_CORE)
    with tempfile.TemporaryDirectory() as folder, KafkaBroker() as broker:
        artifacts = (Path(folder) / "artifacts").as_uri()
        settings = Settings.model_validate(
            {"data_dir": folder, "bus": f"kafka://{broker.address}", "artifacts": artifacts, "workers": 1}
        )
        announced = publish("shop", model(), items=items(), settings=settings)
        space = PREDICTIONS + version_key("shop", announced.version, announced.digest)
        with node(settings):
            sent, watcher = _run(settings, space, asked.rate, asked.seconds)
    times = np.array(watcher.found_ms)
    p50, p99 = (float(np.percentile(times, q)) for q in (50, 99))
    say(f"{len(times)} watched of {sent:,.0f}/s: p50 {p50:.1f} ms, p99 {p99:.1f} ms, {watcher.lost} lost")
    Result(
        target="P6",
        what="event appended to its new prediction readable",
        value=p50,
        unit="ms p50",
        required=f"p50 <= {REQUIRED_P50_MS} ms and p99 <= {REQUIRED_P99_MS} ms",
        met=p50 <= REQUIRED_P50_MS and p99 <= REQUIRED_P99_MS and not watcher.lost,
        details={
            "p99_ms": p99,
            "max_ms": float(times.max()),
            "watched": len(times),
            "lost": watcher.lost,
            "asked_per_s": asked.rate,
            "sent_per_s": sent,
        },
    ).show()


def _run(settings: Settings, space: bytes, rate: float, seconds: float) -> tuple[float, Watcher]:
    store = connect_writer(settings.store, settings.data_dir, settings.topic_prefix, durability=settings.durability)
    watcher = Watcher(store, space, settings.event_partitions)
    bus = connect_bus(settings)
    try:
        sent = _produce(bus, settings, rate, seconds, watcher)
    finally:
        bus.close()
        store.close()
    return sent, watcher


def _produce(bus: Bus, settings: Settings, rate: float, seconds: float, watcher: Watcher) -> float:
    """Append in ticks of 20 ms; the last event of every other tick is watched, in a thread of its own."""
    topic = settings.topics.events.name
    records = iter(Events(int(rate * (seconds + _WARM_S) * 1.2), start_ms=int(time.time() * 1000)).records())
    random = np.random.default_rng(1)
    began = time.perf_counter()
    count = tick = 0
    watching: threading.Thread | None = None
    while (now := time.perf_counter() - began) < seconds + _WARM_S:
        due = int(random.poisson(rate * _EVERY_S))
        batch: list[tuple[bytes | None, bytes | None]] = [next(records) for _ in range(due)]
        free = watching is None or not watching.is_alive()
        if now > _WARM_S and batch and free:
            entity = batch[-1][0] or b""
            at, wall_ms = time.perf_counter(), time.time_ns() // 1_000_000
            watching = threading.Thread(target=watcher.watch, args=(entity, at, wall_ms))
            watching.start()
        bus.append_many(topic, batch)
        count += len(batch)
        tick += 1
        time.sleep(max(0.0, began + tick * _EVERY_S - time.perf_counter()))
    took = time.perf_counter() - began
    if watching is not None:
        watching.join()
    return count / took


if __name__ == "__main__":
    main()
