"""Whether our load generator, `ghz` and `h2load` say the same of one server, and each what the server itself counted.

    python -m benchmarks.agreement [--rate R] [--seconds S] [--rounds N] [--transport NAME]

Cached Recommend and ModelInfer, one request each, at a common open-loop rate over 4 connections. Each is compared with
ours when it sends in the same way: with equal gaps, as ghz does, and as many at a time as h2load had sent; the ratio is
the median of the rounds. How Poisson arrivals, our default, differ is said too. The server's counters are by
grpc-status, which h2load does not look at.
"""

import statistics
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
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
OTHERS = ("ghz", "h2load")


def main() -> None:
    """Measure, and print the result."""
    options = parser(__doc__, 5)
    options.add_argument("--rate", type=int, default=1_000)
    options.add_argument("--rounds", type=int, default=3)
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
            compare = partial(_compare, settings, rate=asked.rate, seconds=int(asked.seconds), folder=Path(name))
            found = [
                {path.rpartition("/")[2]: compare(path, request) for path, request in asking.items()}
                for _ in range(asked.rounds)
            ]
    rows = [row for one in found for method in one.values() for row in method.values()]
    ratios = {
        f"{method}, {name}": statistics.median(one[method][name]["p50_ratio"] for one in found)
        for method in found[0]
        for name in OTHERS
    }
    worst = max(max(ratio, 1 / ratio) for ratio in ratios.values())
    Result(
        target="agreement",
        what=f"p50 of ghz and h2load against ours at {asked.rate:,}/s, the one that is farthest off",
        value=worst,
        unit="x, either way",
        required=f"rates within {RATE_WITHIN:.0%}, every call counted by the server too, p50 <= {P50_WITHIN} x",
        met=worst <= P50_WITHIN
        and all(row["server_agrees"] and abs(row["achieved"] / asked.rate - 1) <= RATE_WITHIN for row in rows),
        details={"rate": asked.rate, "transport": asked.transport, "p50_ratios": ratios, "rounds": found},
    ).show()


def _compare(
    settings: Settings, path: str, request: Message, *, rate: int, seconds: int, folder: Path
) -> dict[str, dict[str, Any]]:
    target, method = address(settings), path.rpartition("/")[2]
    rows: dict[str, dict[str, Any]] = {}

    def counted(name: str, run: Callable[[], Said]) -> Said:
        before = settled(settings, method)
        said = run()
        server = since(settings, method, before, said.calls)
        rows[name] = {**asdict(said), "server": server, "server_agrees": _agrees(said, server)}
        return said

    def ours(name: str, pacing: Open) -> Said:
        return counted(name, lambda: _ours(target, path, request, pacing, seconds))

    def compare(name: str, said: Said, base: Said) -> None:
        ratios = {"p50_ratio": said.p50_ms / base.p50_ms, "p99_ratio": said.p99_ms / base.p99_ms}
        rows[name] |= ratios
        say(
            f"{method}, {name}: {said.achieved:,.0f}/s, p50 {said.p50_ms:.3f} ms ({ratios['p50_ratio']:.2f} x), "
            f"p99 {said.p99_ms:.3f} ms ({ratios['p99_ratio']:.2f} x), {dict(said.statuses)}; "
            f"the server {rows[name]['server']}"
        )

    even = ours("nearline bench, even", Open(rate, even=True))
    compare("nearline bench, even", even, even)
    compare("nearline bench", ours("nearline bench", Open(rate)), even)
    compare("ghz", counted("ghz", lambda: ghz(target, path, request, rate, seconds)), even)
    theirs = counted("h2load", lambda: h2load(target, path, request, rate, seconds, folder))
    bunched = f"nearline bench, {theirs.bunch} at a time"
    alike = ours(bunched, Open(rate, even=True, bunch=theirs.bunch))
    compare(bunched, alike, alike)
    compare("h2load", theirs, alike)
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
    return Said(sum(statuses.values()), outcome.achieved, found["p50"], found["p99"], statuses, pacing.bunch)


if __name__ == "__main__":
    main()
