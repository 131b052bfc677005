"""P9: what a model of 512 MB adds to the memory of N serving workers, against its size: one copy, not N.

    python -m benchmarks.shared_memory [--megabytes M] [--workers N] [--transport NAME]

Proportional set size over all serving workers, with the model loaded and every page of it read in each, less what they
had before it was published. Linux only.
"""

import tempfile
from pathlib import Path

import grpc
import numpy as np

from benchmarks.loads import address, parser, serving, transport
from benchmarks.memory import held
from benchmarks.nodes import CLIENT_CORE, node, pin
from benchmarks.result import Result, say
from benchmarks.table_model import INPUT, ROW_BYTES, table_model
from publisher.api import publish
from publisher.wait import wait_until_ended
from serving.bus.connect import connect_bus
from serving.loadtest.inferring import INFER, encode_infer
from serving.settings import Settings

REQUIRED = 1.2
_PAGE_BYTES = 4096
_ROWS_A_CALL = 8_192
_ROUNDS = 40
"""Channels that read all of it, one after the other: the kernel gives each to a worker by chance."""


def main() -> None:
    """Measure, and print the result."""
    options = parser(__doc__, 0.0)
    options.add_argument("--megabytes", type=int, default=512)
    options.add_argument("--workers", type=int, default=4)
    asked = options.parse_args()
    pin(CLIENT_CORE)
    graph = table_model(asked.megabytes)
    size = asked.megabytes << 20
    found = {}
    for workers in (1, asked.workers):
        with tempfile.TemporaryDirectory() as folder:
            settings = Settings.model_validate({"data_dir": Path(folder), "workers": workers, "nearline_workers": 0})
            with node(settings, **transport(asked)):
                before = held(serving(settings))
                _load(settings, graph, asked.megabytes)
                after = held(serving(settings))
        found[workers] = {name: (after[name] - before[name]) / size for name in after}
        said = ", ".join(f"{name} {share:.2f} x" for name, share in found[workers].items())
        say(f"{workers} workers: {said} of the model's {asked.megabytes} MB added")
    added = found[asked.workers]
    Result(
        target="P9",
        what=f"memory that {asked.workers} serving workers take more with a model of {asked.megabytes} MB",
        value=added["pss"],
        unit="x the model (proportional set size)",
        required=f"<= {REQUIRED} x",
        met=added["pss"] <= REQUIRED,
        details={"workers": {str(count): shares for count, shares in found.items()}, "transport": asked.transport},
    ).show()


def _load(settings: Settings, graph: object, megabytes: int) -> None:
    announced = publish("table", graph, settings=settings)
    bus = connect_bus(settings)
    progress = wait_until_ended(bus, settings.topics, announced, 60)
    bus.close()
    if progress.failed or not progress.ended:
        raise SystemExit(f"the model was not READY everywhere: {progress.rows}")
    rows = np.arange(0, (megabytes << 20) // ROW_BYTES, _PAGE_BYTES // ROW_BYTES, dtype=np.int64)
    calls = [
        encode_infer("table", {INPUT: ("INT64", rows[start : start + _ROWS_A_CALL])})
        for start in range(0, len(rows), _ROWS_A_CALL)
    ]
    options = (("grpc.use_local_subchannel_pool", 1),)
    for _ in range(_ROUNDS):
        with grpc.insecure_channel(address(settings), options=options) as channel:
            ask = channel.unary_unary(INFER)
            for call in calls:
                ask(call, timeout=30)


if __name__ == "__main__":
    main()
