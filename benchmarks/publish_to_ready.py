"""P7: from the announcement's append until the version is READY in every worker, by the bus's clock.

    python -m benchmarks.publish_to_ready [--publishes N] [--megabytes M] [--transport NAME]

Versions of a model of 52 MB, published one after the other to a node with two serving workers and a near-line worker,
each with other bytes; the artifact store is a folder of the same disk, and every check is on: signed announcements of
a key that the node trusts, signed bundles, digests, the graph, the trial. Building, trying and storing the bundle come
before the announcement, and do not count. The node runs on one core, the publisher on the other.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.loads import parser, transport
from benchmarks.nodes import CLIENT_CORE, node, pin
from benchmarks.result import Result, say
from benchmarks.table_model import table_model
from protos.nearline.v1 import status_pb2
from publisher.api import publish
from publisher.wait import wait_until_ended
from serving.bus.connect import connect_bus
from serving.settings import Settings
from serving.trust.keys import create_keys

REQUIRED_P50_MS, REQUIRED_P99_MS = 250.0, 800.0
_PATIENCE_S = 60.0
_FIRST = 1
"""Of these nothing is taken down: the node loads its first model, and has no old one to let go of."""


def main() -> None:
    """Measure, and print the result."""
    options = parser(__doc__, 0.0)
    options.add_argument("--publishes", type=int, default=25)
    options.add_argument("--megabytes", type=int, default=52)
    asked = options.parse_args()
    pin(CLIENT_CORE)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.model_validate({"data_dir": Path(folder), "workers": 2, **_trusting(Path(folder))})
        with node(settings, **transport(asked)):
            took = [_publish(settings, asked.megabytes, seed) for seed in range(asked.publishes + _FIRST)][_FIRST:]
    p50, p99 = (float(np.percentile(took, q)) for q in (50, 99))
    say(f"{len(took)} publishes: p50 {p50:.0f} ms, p99 {p99:.0f} ms, max {max(took):.0f} ms")
    Result(
        target="P7",
        what=f"announcement appended to READY in every worker, {asked.megabytes} MB",
        value=p50,
        unit="ms p50",
        required=f"p50 <= {REQUIRED_P50_MS} ms and p99 <= {REQUIRED_P99_MS} ms",
        met=p50 <= REQUIRED_P50_MS and p99 <= REQUIRED_P99_MS,
        details={
            "p99_ms": p99,
            "max_ms": max(took),
            "publishes": len(took),
            "signed": True,
            "transport": asked.transport,
        },
    ).show()


def _trusting(folder: Path) -> dict[str, Any]:
    """Settings of a publisher that signs, and of a node that loads nothing else."""
    keys = create_keys(folder, "benchmark")
    trusted = folder / "trusted.yaml"
    trusted.write_text(
        yaml.safe_dump({"keys": [{"name": "benchmark", "public_key": keys.pem.decode(), "models": ["*"]}]})
    )
    return {"signing_key": folder / "benchmark.key", "trusted_keys": trusted, "require_bundle_signature": True}


def _publish(settings: Settings, megabytes: int, seed: int) -> float:
    announced = publish("table", table_model(megabytes, seed), settings=settings)
    bus = connect_bus(settings)
    try:
        progress = wait_until_ended(bus, settings.topics, announced, _PATIENCE_S)
    finally:
        bus.close()
    states = {presence.worker: status.state if status else None for presence, status in progress.rows}
    ready = [name for name, state in states.items() if state == status_pb2.READY]
    if len(ready) < settings.workers + settings.nearline_workers:
        raise SystemExit(f"version {announced.version} is not READY everywhere: {states}")
    return progress.seconds * 1000


if __name__ == "__main__":
    main()
