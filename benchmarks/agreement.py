"""Whether our load generator, `ghz` and `h2load` say the same of one server, and each what the server itself counted.

    python -m benchmarks.agreement [--rate R] [--seconds S] [--transport NAME]

Cached Recommend and ModelInfer, one request each, at a common open-loop rate over 4 connections. Ours runs twice: with
Poisson arrivals, as by default, and with equal gaps, as the other two. The server's counters are by grpc-status, which
h2load does not look at.
"""

import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from benchmarks.counters import settled, since
from benchmarks.loads import address, customers, fill, load, parser, transport
from benchmarks.nodes import CLIENT_CORE, node, pin
from benchmarks.other_generators import CONNECTIONS, STREAMS, Said, ghz, h2load
from benchmarks.ranker import ranker
from benchmarks.result import Result, say
from benchmarks.shop import items, model
from protos.inference import inference_pb2
from protos.nearline.v1 import recommender_pb2
from publisher.api import publish
from serving.loadtest.inferring import INFER, infer_requests
from serving.loadtest.outcome import percentiles
from serving.loadtest.plan import Open
from serving.loadtest.requests import RECOMMEND, recommend_requests
from serving.settings import Settings

RATE_WITHIN, P50_WITHIN = 0.02, 1.5


def main() -> None:
    """Measure, and print the result."""
    options = parser(__doc__, 10)
    options.add_argument("--rate", type=int, default=1_000)
    asked = options.parse_args()
    pin(CLIENT_CORE)
    with tempfile.TemporaryDirectory() as name:
        settings = Settings.model_validate({"data_dir": Path(name) / "data", "workers": 1})
        publish("shop", model(), items=items(), settings=settings)
        publish("ranker", ranker(), settings=settings)
        with node(settings, **transport(asked)):
            fill(settings, customers(1))
            asking = {
                RECOMMEND: recommender_pb2.RecommendRequest.FromString(recommend_requests("shop", customers(1))[0]),
                INFER: inference_pb2.ModelInferRequest.FromString(
                    infer_requests(address(settings), "ranker", 1, count=1)[0]
                ),
            }
            found = {
                path.rpartition("/")[2]: _compare(settings, path, request, asked.rate, int(asked.seconds), Path(name))
                for path, request in asking.items()
            }
    rows = [row for rows in found.values() for row in rows.values()]
    worst = max(max(row["p50_ratio"], 1 / row["p50_ratio"]) for row in rows)
    Result(
        target="agreement",
        what=f"p50 of ghz and h2load against ours at {asked.rate:,}/s, the one that is farthest off",
        value=worst,
        unit="x, either way",
        required=f"rates within {RATE_WITHIN:.0%}, every call counted by the server too, p50 <= {P50_WITHIN} x",
        met=worst <= P50_WITHIN
        and all(row["server_agrees"] and abs(row["achieved"] / asked.rate - 1) <= RATE_WITHIN for row in rows),
        details={"rate": asked.rate, "transport": asked.transport, **found},
    ).show()


def _compare(
    settings: Settings, path: str, request: Message, rate: int, seconds: int, folder: Path
) -> dict[str, dict[str, Any]]:
    target, method = address(settings), path.rpartition("/")[2]
    runs: dict[str, Callable[[], Said]] = {
        "nearline bench, even": lambda: _ours(target, path, request, Open(rate, even=True), seconds),
        "nearline bench": lambda: _ours(target, path, request, Open(rate), seconds),
        "ghz": lambda: ghz(target, path, request, rate, seconds),
        "h2load": lambda: h2load(target, path, request, rate, seconds, folder),
    }
    rows: dict[str, dict[str, Any]] = {}
    for name, run in runs.items():
        before = settled(settings, method)
        said = run()
        server = since(settings, method, before, said.calls)
        base = rows["nearline bench, even"] if rows else asdict(said)
        rows[name] = {
            **asdict(said),
            "p50_ratio": said.p50_ms / base["p50_ms"],
            "p99_ratio": said.p99_ms / base["p99_ms"],
            "server": server,
            "server_agrees": _agrees(said, server),
        }
        say(
            f"{method}, {name}: {said.achieved:,.0f}/s, p50 {said.p50_ms:.3f} ms ({rows[name]['p50_ratio']:.2f} x), "
            f"p99 {said.p99_ms:.3f} ms ({rows[name]['p99_ratio']:.2f} x), {dict(said.statuses)}; the server {server}"
        )
    return rows


def _agrees(said: Said, server: dict[str, int]) -> bool:
    """Call by call; of who does not look at grpc-status, only how many there were, and that all were OK."""
    if any(name.startswith("HTTP") for name in said.statuses):
        return server == {"OK": said.calls}
    return server == {name: count for name, count in said.statuses.items() if count}


def _ours(target: str, path: str, request: Message, pacing: Open, seconds: int) -> Said:
    outcome = load(
        target,
        path,
        [request.SerializeToString()],
        pacing,
        seconds,
        connections=CONNECTIONS,
        streams=STREAMS,
        warm_s=0.0,
    )
    found = percentiles(outcome.latencies().histogram())
    statuses = {"OK": outcome.answered, **outcome.errors}
    return Said(sum(statuses.values()), outcome.achieved, found["p50"], found["p99"], statuses)


if __name__ == "__main__":
    main()
