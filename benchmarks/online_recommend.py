"""P4: online `Recommend`, against a grpcio aio server that computes the same answers with the same session.

    python -m benchmarks.online_recommend [--seconds S] [--rounds N] [--transport NAME]

A node with one serving worker on one core, the load generator on the other; 16 calls on each of 4 connections. Every
request asks for an answer that is at most a millisecond old, so that each is computed from the customer's state. Both
servers' answers are compared before they are timed. Model: shop.py.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx

from benchmarks.loads import address, closed, customers, fill, parser, transport
from benchmarks.nodes import CLIENT_CORE, node, pin
from benchmarks.result import Result, say
from benchmarks.shop import items, model
from protos.nearline.v1 import recommender_pb2 as pb
from protos.nearline.v1 import recommender_pb2_grpc
from publisher.api import publish
from serving.bundles.bundle import GRAPH
from serving.loadtest.answers import source_of
from serving.loadtest.requests import RECOMMEND, recommend_requests
from serving.settings import Settings

CUSTOMERS, M = 2_000, 16
REQUIRED = 8.0
_COMPARED = 50
_OLDEST_MS = 1


def main() -> None:
    """Measure, and print the result."""
    options = parser(__doc__, 4.0)
    options.add_argument("--rounds", type=int, default=3)
    asked = options.parse_args()
    pin(CLIENT_CORE)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = Settings.model_validate({"data_dir": folder / "data", "workers": 1})
        onnx.save(model(), folder / GRAPH)
        publish("shop", model(), items=items(), settings=settings)
        with node(settings, **transport(asked)), _reference(folder) as reference:
            fill(settings, customers(CUSTOMERS))
            time.sleep(0.01)  # no prediction is younger than a millisecond from here on
            _measure(address(settings), reference, asked.seconds, asked.rounds, asked.transport)


def _measure(target: str, reference: str, seconds: float, rounds: int, transport_name: str | None) -> None:
    _compare(target, reference)
    requests = recommend_requests("shop", customers(CUSTOMERS), max_age_ms=_OLDEST_MS)
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(rounds):
        for rates, where in ((ours, target), (theirs, reference)):
            outcome = closed(where, RECOMMEND, requests, M, seconds, read=source_of)
            if outcome.kinds != ["ONLINE"]:
                raise SystemExit(f"expected nothing but online answers, got {outcome.kinds}")
            rates.append(outcome.achieved)
    rate, base = statistics.median(ours), statistics.median(theirs)
    say(f"m={M}: {rate:,.0f}/s against {base:,.0f}/s, {rate / base:.1f} x")
    Result(
        target="P4",
        what="online Recommend against grpcio aio with the same session",
        value=rate,
        unit=f"requests/s at m={M}",
        reference=base,
        required=f">= {REQUIRED} x",
        met=rate >= REQUIRED * base,
        details={"transport": transport_name, "ours": ours, "grpcio": theirs},
    ).show()


def _compare(target: str, reference: str) -> None:
    for entity in customers(_COMPARED):
        request = pb.RecommendRequest(objective="shop", entity_id=entity, max_age_ms=_OLDEST_MS)
        ours, theirs = (_ask(where, request) for where in (target, reference))
        if not np.allclose(ours.scores, theirs.scores, atol=1e-5) or len(ours.item_ids) != len(theirs.item_ids):
            raise SystemExit(f"{entity}: the servers' answers differ: {ours} {theirs}")


def _ask(where: str, request: pb.RecommendRequest) -> pb.RecommendResponse:
    with grpc.insecure_channel(where) as channel:
        stub: Any = recommender_pb2_grpc.RecommenderStub(channel)
        answer: pb.RecommendResponse = stub.Recommend(request, timeout=10)
        return answer


@contextmanager
def _reference(folder: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.recommend_reference", str(folder), str(CUSTOMERS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield f"127.0.0.1:{int((process.stdout or sys.stdin).readline())}"
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
