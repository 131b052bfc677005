"""P1: cached `Recommend` through the real server, against grpc.aio as a server of the same bytes. P2: over TLS.

    python -m benchmarks.rpc_hits [--seconds S] [--rounds N] [--tls] [--redis]

A node (one serving worker, transport `native`, its own bus and store) on one core, the generator of `nearline bench` on
the other, which only counts answers. Both servers are measured in turns, with 16 and 1 calls running on each of 4
connections, with a deadline and a traceparent that are fresh on every call, asked for fewer items than stored, and by
Zipf's law for so many entities that not all of their answers are remembered.
"""

import argparse
import statistics
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from benchmarks.costs import metered
from benchmarks.hits_node import ENTITIES, MANY, Server, Stage, stage
from benchmarks.loads import closed
from benchmarks.nodes import CLIENT_CORE, pin
from benchmarks.result import Result, say
from serving.loadtest.requests import RECOMMEND, ZIPF


@dataclass(frozen=True, slots=True)
class Case:
    """So many calls on each connection; `more` of the plan; the ratio that is required; 0 = it is only shown.

    k: items that are asked for; 0 = all. entities: of which each call asks for one. The reference answers its bytes,
    whatever is asked for.
    """

    m: int
    required: float
    more: dict[str, Any] = field(default_factory=lambda: {"deadline": "none"})
    k: int = 0
    entities: int = ENTITIES


_FRESH = {"deadline": "fresh", "traceparent": True}
CASES = {
    "m=16": Case(16, 40.0),
    "m=1": Case(1, 10.0),
    "m=16, varying": Case(16, 20.0, _FRESH),
    "m=16, k=5": Case(16, 0.0, k=5),
    "zipf": Case(16, 0.0, {"deadline": "none", "skew": ZIPF}, entities=MANY),
}
REDIS_CASES = {"m=16": Case(16, 0.0), "m=1": Case(1, 0.0), "m=16, k=5": Case(16, 0.0, k=5)}
TLS_CASES = {"m=16": Case(16, 30.0), "m=1": Case(1, 4.0)}


@dataclass(slots=True)
class Side:
    """What was measured of a server. A busy machine spoils its CPU a request less than its rate."""

    server: Server
    rates: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)

    def measure(self, case: Case, on: Stage, seconds: float) -> None:
        """One round."""
        load = partial(closed, self.server.target, RECOMMEND, on.requests(case.k, case.entities), case.m, seconds)
        outcome, us = metered([self.server.process], seconds, partial(load, read=None, tls=on.tls, **case.more))
        self.rates.append(outcome.achieved)
        self.cpu_us.append(us)


def main() -> None:
    """Measure, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tls", action="store_true", help="both sides over TLS")
    parser.add_argument(
        "--redis", action="store_true", help="predictions are in a Redis, which shares the server's core"
    )
    asked = parser.parse_args()
    pin(CLIENT_CORE)
    cases = REDIS_CASES if asked.redis else TLS_CASES if asked.tls else CASES
    with stage(secure=asked.tls, redis=asked.redis, many="zipf" in cases) as on:
        found = {name: _measure(name, case, on, asked.seconds, asked.rounds) for name, case in cases.items()}
    Result(
        target="hits_redis" if asked.redis else "P2" if asked.tls else "P1",
        what="cached Recommend, 4 connections" + ", TLS" * asked.tls + ", through Redis" * asked.redis,
        value=found["m=16"]["ours"],
        unit="requests/s at m=16",
        required=", ".join(f"{name} >= {case.required:.0f} x" for name, case in cases.items() if case.required)
        or "nothing: it is shown",
        met=all(found[name]["ratio"] >= case.required for name, case in cases.items()),
        reference=found["m=16"]["grpcio"],
        details={"answer_bytes": on.answer_bytes, **found},
    ).show()


def _measure(name: str, case: Case, on: Stage, seconds: float, rounds: int) -> dict[str, Any]:
    ours, theirs = Side(on.ours), Side(on.reference)
    for _ in range(rounds):
        for side in (ours, theirs):
            side.measure(case, on, seconds)
    rate, base = statistics.median(ours.rates), statistics.median(theirs.rates)
    cpu, base_cpu = statistics.median(ours.cpu_us), statistics.median(theirs.cpu_us)
    say(
        f"{name}: {rate:,.0f}/s against {base:,.0f}/s, {rate / base:.1f} x; "
        f"{cpu:.1f} against {base_cpu:.1f} us of CPU a request, {base_cpu / cpu:.1f} x"
    )
    return {
        "ours": rate,
        "grpcio": base,
        "ratio": rate / base,
        "cpu_us_per_request": [cpu, base_cpu],
        "cpu_ratio": base_cpu / cpu,
    }


if __name__ == "__main__":
    main()
