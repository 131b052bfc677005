"""P11: CPU a request of two serving workers against one: sharing nothing, they must not cost each other anything.

    python -m benchmarks.two_workers [--seconds S] [--rounds N] [--transport NAME]

The client runs on the same two cores, so that rates say little: what is compared is the CPU that the workers use for a
request, cached Recommend and online ModelInfer. Calls are offered at the same rate for each worker, half of one
worker's peak, from 4 connections for each; which worker gets how many connections is the kernel's choice.
"""

import os
import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.costs import metered
from benchmarks.loads import CONNECTIONS, address, closed, customers, fill, load, parser, serving, transport
from benchmarks.nodes import node
from benchmarks.ranker import ranker
from benchmarks.result import Result, say
from benchmarks.shop import items, model
from publisher.api import publish
from serving.loadtest.inferring import INFER, infer_requests
from serving.loadtest.plan import Open
from serving.loadtest.requests import RECOMMEND, recommend_requests
from serving.settings import Settings

REQUIRED = 1.1
CUSTOMERS, M = 2_000, 16
_PEAK_S = 3.0


def main() -> None:
    """Measure, and print the result."""
    options = parser(__doc__, 5.0)
    options.add_argument("--rounds", type=int, default=3)
    asked = options.parse_args()
    rates: dict[str, float] = {}
    costs = {workers: _measure(workers, asked, rates) for workers in (1, 2)}
    ratios = {name: costs[2][name] / costs[1][name] for name in costs[1]}
    for name, ratio in ratios.items():
        say(f"{name}: {costs[1][name]:.1f} us with one worker, {costs[2][name]:.1f} us with two, {ratio:.2f} x")
    worst = max(ratios, key=lambda name: ratios[name])
    Result(
        target="P11",
        what=f"CPU a request of two serving workers against one ({worst}, the worse)",
        value=costs[2][worst],
        unit="us of CPU a request",
        reference=costs[1][worst],
        required=f"<= {REQUIRED} x",
        met=ratios[worst] <= REQUIRED,
        details={"ratios": ratios, "us": costs, "offered_per_s_and_worker": rates, "transport": asked.transport},
    ).show()


def _measure(workers: int, asked: Any, rates: dict[str, float]) -> dict[str, float]:
    """CPU of all serving workers a request, in microseconds, by method. `rates`: for each worker, set by the first."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.model_validate({"data_dir": Path(folder), "workers": workers})
        publish("shop", model(), items=items(), settings=settings)
        publish("ranker", ranker(), settings=settings)
        with node(settings, cores=range(os.cpu_count() or 1), **transport(asked)):
            fill(settings, customers(CUSTOMERS))
            target, processes = address(settings), serving(settings)
            calls = {
                "Recommend": (RECOMMEND, recommend_requests("shop", customers(CUSTOMERS))),
                "ModelInfer": (INFER, infer_requests(target, "ranker", 1)),
            }
            found = {}
            for name, (path, requests) in calls.items():
                if name not in rates:
                    rates[name] = closed(target, path, requests, M, _PEAK_S).achieved / 2
                used = []
                for _ in range(asked.rounds):
                    pacing, connections = Open(rates[name] * workers), CONNECTIONS * workers
                    run = partial(load, target, path, requests, pacing, asked.seconds, connections=connections)
                    outcome, us = metered(processes, asked.seconds, run)
                    if outcome.failed:
                        raise SystemExit(f"{outcome.failed} calls failed: {dict(outcome.errors)}")
                    used.append(us)
                found[name] = statistics.median(used)
    return found


if __name__ == "__main__":
    main()
