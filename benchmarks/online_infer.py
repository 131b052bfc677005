"""P3: online `ModelInfer` of one row, against ONNX Runtime called in a loop in one process, at batch 1.

    python -m benchmarks.online_infer [--seconds S] [--rounds N] [--transport NAME]

A node with one serving worker on one core, the load generator on the other; 16 calls and 1 call on each of 4
connections. The reference runs on the server's core, in turns with the node, which is idle then. Model: ranker.py.
"""

import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import onnx

from benchmarks.costs import metered
from benchmarks.loads import address, closed, parser, serving, transport
from benchmarks.nodes import CLIENT_CORE, node, pin
from benchmarks.ranker import ranker
from benchmarks.result import Result, say
from publisher.api import publish
from serving.bundles.bundle import GRAPH
from serving.loadtest.inferring import INFER, infer_requests
from serving.settings import Settings

REQUIRED = {16: 1.0, 1: 0.25}


def main() -> None:
    """Measure, and print the result."""
    options = parser(__doc__, 4.0)
    options.add_argument("--rounds", type=int, default=3)
    asked = options.parse_args()
    pin(CLIENT_CORE)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = Settings.model_validate({"data_dir": folder / "data", "workers": 1, "nearline_workers": 0})
        onnx.save(ranker(), folder / GRAPH)
        publish("ranker", ranker(), settings=settings)
        with node(settings, **transport(asked)):
            _measure(settings, folder, asked.seconds, asked.rounds, asked.transport)


def _measure(settings: Settings, folder: Path, seconds: float, rounds: int, transport_name: str | None) -> None:
    target, workers = address(settings), serving(settings)
    requests = infer_requests(target, "ranker", 1)
    rates: dict[int, list[float]] = {m: [] for m in REQUIRED}
    cpu: dict[int, list[float]] = {m: [] for m in REQUIRED}
    floor: list[float] = []
    for _ in range(rounds):
        floor.append(_in_process(folder, seconds))
        for m in REQUIRED:
            load = partial(closed, target, INFER, requests, m, seconds, read=None)
            outcome, us = metered(workers, seconds, load)
            rates[m].append(outcome.achieved)
            cpu[m].append(us)
    base = statistics.median(floor)
    found = {m: statistics.median(rates[m]) for m in REQUIRED}
    for m, rate in found.items():
        say(f"m={m}: {rate:,.0f}/s against {base:,.0f}/s in process, {rate / base:.2f} x")
    Result(
        target="P3",
        what="online ModelInfer of one row against ONNX Runtime in process at batch 1",
        value=found[16],
        unit="requests/s at m=16",
        reference=base,
        required=", ".join(f"m={m} >= {least} x" for m, least in REQUIRED.items()),
        met=all(found[m] >= least * base for m, least in REQUIRED.items()),
        details={
            "transport": transport_name,
            **{
                f"m={m}": {"per_s": rate, "ratio": rate / base, "cpu_us_per_request": statistics.median(cpu[m])}
                for m, rate in found.items()
            },
        },
    ).show()


def _in_process(folder: Path, seconds: float) -> float:
    command = [sys.executable, "-m", "benchmarks.inprocess", str(folder), str(seconds)]
    return float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


if __name__ == "__main__":
    main()
