"""P10: a thousand swaps in a row: memory of the serving worker after the last against after the 50th.

    python -m benchmarks.many_swaps [--swaps N] [--transport NAME]

A node with one serving worker; rollouts name two versions of a model in turns, each as soon as the one before answers.
Each swap loads a version and unloads the other. Calls run all the time, and their cost in CPU is compared, too.
"""

import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import grpc

from benchmarks.costs import metered
from benchmarks.loads import address, closed, parser, serving, transport
from benchmarks.memory import held
from benchmarks.nodes import CLIENT_CORE, node, pin
from benchmarks.ranker import ranker
from benchmarks.result import Result, say
from benchmarks.swap_answers import MIXED, inferred
from protos.inference import inference_pb2 as pb
from publisher.api import publish
from publisher.ledger import Ledger
from publisher.rollouts import pin as pin_version
from serving.bus.connect import connect_bus
from serving.loadtest.inferring import INFER, infer_requests
from serving.settings import Settings

REQUIRED = 1.1
_SETTLED = 50
_PATIENCE_S = 30.0
_LOOK_S = 0.002
_M = 16
_COST_S, _COST_ROUNDS = 3.0, 3
_TELL_EVERY = 100


def main() -> None:
    """Measure, and print the result."""
    options = parser(__doc__, 0.0)
    options.add_argument("--swaps", type=int, default=1_000)
    asked = options.parse_args()
    if asked.swaps <= _SETTLED:
        raise SystemExit(f"--swaps: expected more than {_SETTLED}")
    pin(CLIENT_CORE)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.model_validate({"data_dir": Path(folder), "workers": 1, "nearline_workers": 0})
        for version in (1, 2):
            publish("ranker", ranker(version, told=version), settings=settings)
        with node(settings, **transport(asked)):
            found = _swap(settings, asked.swaps)
    ratio = found["rss_last"] / found["rss_settled"]
    found["cost_ratio"] = found["cost_after_us"] / found["cost_before_us"]
    say(
        f"{asked.swaps} swaps: RSS {found['rss_settled'] >> 20} MB after {_SETTLED}, {found['rss_last'] >> 20} MB "
        f"after the last, {ratio:.3f} x; {found['cost_before_us']:.1f} us of CPU a request before, "
        f"{found['cost_after_us']:.1f} after, {found['cost_ratio']:.2f} x"
    )
    Result(
        target="P10",
        what=f"memory of a serving worker after {asked.swaps} swaps against after {_SETTLED}",
        value=float(found["rss_last"]),
        unit="bytes RSS",
        reference=float(found["rss_settled"]),
        required=f"<= {REQUIRED} x",
        met=ratio <= REQUIRED and asked.swaps >= 1_000,  # noqa: PLR2004 - the target's own number
        details={"swaps": asked.swaps, "transport": asked.transport, **found},
    ).show()


def _swap(settings: Settings, swaps: int) -> dict[str, Any]:
    (worker,) = serving(settings)
    target = address(settings)
    bus = connect_bus(settings.bus, settings.data_dir)
    ledger, began = Ledger(bus, settings.topics), time.monotonic()
    found: dict[str, Any] = {}
    with grpc.insecure_channel(target) as channel:
        ask = channel.unary_unary(INFER, None, pb.ModelInferResponse.FromString)
        call = infer_requests(target, "ranker", 1, count=1)[0]
        for number in range(1, swaps + 1):
            version = 1 + number % 2
            pin_version(ledger, "ranker", version, {})
            _wait(ask, call, version)
            if number == _SETTLED:
                found["cost_before_us"] = _cost(settings)
                found["rss_settled"] = held([worker])["rss"]
                began = time.monotonic()
            if not number % _TELL_EVERY:
                say(f"{number} swaps, RSS {held([worker])['rss'] >> 20} MB")
        found["ms_a_swap"] = (time.monotonic() - began) * 1000 / (swaps - _SETTLED)
        found["cost_after_us"] = _cost(settings)
        found["rss_last"] = held([worker])["rss"]
    bus.close()
    if serving(settings)[0].pid != worker.pid:
        raise SystemExit("the serving worker was started anew")
    return found


def _wait(ask: Any, call: bytes, version: int) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while (answer := ask(call, timeout=10)).model_version != str(version):
        if time.monotonic() > deadline:
            raise SystemExit(f"version {version} did not take over; {answer.model_version} answers")
        time.sleep(_LOOK_S)
    if inferred(answer.SerializeToString()) == MIXED:
        raise SystemExit(f"an answer of version {version} has another one's values")


def _cost(settings: Settings) -> float:
    """CPU of the worker a request, in microseconds; the median of a few loads."""
    workers, target = serving(settings), address(settings)
    requests = infer_requests(target, "ranker", 1)
    costs = []
    for _ in range(_COST_ROUNDS):
        outcome, us = metered(workers, _COST_S, partial(closed, target, INFER, requests, _M, _COST_S, read=inferred))
        if MIXED in outcome.kinds:
            raise SystemExit("an answer has another version's values")
        costs.append(us)
    return statistics.median(costs)


if __name__ == "__main__":
    main()
