"""P8: what clients notice of hot swaps, at half of the peak load: failures, mixed answers, and latency around them.

    python -m benchmarks.hot_swap [--swaps N] [--seconds S] [--transport NAME]

Once for Recommend (customers with near-line predictions; the new ones are filled in before the first switch), once for
ModelInfer. A node with one serving worker on one core, the load generator on the other: fetching, verifying, the
trial, loading and filling compete with answering. Every S seconds a rollout names the other one of two versions that
were announced beforehand. Seconds around swaps are taken together, as are those before rollouts: a single second has
too few calls for its p99. Models show their version in every value (swap_answers.py).
"""

import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.loads import address, closed, customers, fill, load, parser, transport
from benchmarks.nodes import CLIENT_CORE, node, pin
from benchmarks.ranker import ranker
from benchmarks.result import Result, say
from benchmarks.shop import items, model
from benchmarks.swap_answers import MIXED, STEP, inferred, recommended
from publisher.api import publish
from publisher.ledger import Ledger
from publisher.rollouts import pin as pin_version
from serving.bus.connect import connect_bus
from serving.loadtest.inferring import INFER, infer_requests
from serving.loadtest.latencies import Latencies
from serving.loadtest.outcome import Outcome, percentiles
from serving.loadtest.plan import Open
from serving.loadtest.requests import RECOMMEND, recommend_requests
from serving.settings import Settings

REQUIRED = 1.5
CUSTOMERS, M = 2_000, 16
_PEAK_S = 4.0
_SLICE_S = 0.05
_AROUND_S = 0.5
_STEADY_S = 2.0


@dataclass(frozen=True, slots=True)
class Case:
    """A method under load while `model` is swapped from version 1 to 2."""

    model: str
    path: str
    requests: list[bytes]
    read: Callable[[bytes], str]


def main() -> None:
    """Measure, and print the result."""
    options = parser(__doc__, 5.0)
    options.add_argument("--swaps", type=int, default=6)
    asked = options.parse_args()
    pin(CLIENT_CORE)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.model_validate({"data_dir": Path(folder), "workers": 1})
        for version in (1, 2):
            held = version > 1
            shop = model(version, version * STEP)
            publish("shop", shop, items=items(), held=held, settings=settings)
            publish("ranker", ranker(version, told=version), held=held, settings=settings)
        with node(settings, **transport(asked)):
            fill(settings, customers(CUSTOMERS))
            target = address(settings)
            requests = recommend_requests("shop", customers(CUSTOMERS))
            cases = {
                "Recommend": Case("shop", RECOMMEND, requests, recommended),
                "ModelInfer": Case("ranker", INFER, infer_requests(target, "ranker", 1), inferred),
            }
            found = {name: _measure(settings, case, asked.seconds, asked.swaps) for name, case in cases.items()}
    worst = max(figures["ratio"] for figures in found.values())
    Result(
        target="P8",
        what="p99 in the seconds around hot swaps against steady state, at half of the peak",
        value=worst,
        unit="x, the worse of Recommend and ModelInfer",
        required=f"no failure, no mixed answer, <= {REQUIRED} x",
        met=worst <= REQUIRED and not any(figures["failed"] or figures["mixed"] for figures in found.values()),
        details={"transport": asked.transport, **found},
    ).show()


def _measure(settings: Settings, case: Case, every_s: float, swaps: int) -> dict[str, Any]:
    target = address(settings)
    peak = closed(target, case.path, case.requests, M, _PEAK_S, read=case.read).achieved
    rollouts = [every_s * turn for turn in range(1, swaps + 1)]
    swapping = _Swapping(settings, case.model, rollouts)
    outcome = load(
        target, case.path, case.requests, Open(peak / 2), every_s * (swaps + 1), case.read,
        slice_s=_SLICE_S, begun=swapping.begin,
    )  # fmt: skip
    swapping.thread.join()
    swapped = [_first_answer(outcome, _version(turn), at) for turn, at in enumerate(rollouts)]
    steady, preparing, around = (
        Latencies.merge([outcome.latencies(first_s=first, last_s=last) for first, last in spans])
        for spans in (
            [(at - _STEADY_S, at) for at in rollouts],
            list(zip(rollouts, swapped, strict=True)),
            [(at - _AROUND_S, at + _AROUND_S) for at in swapped],
        )
    )
    figures = {
        "ratio": _p99(around) / _p99(steady),
        "failed": outcome.failed,
        "unsent": outcome.unsent,
        "mixed": outcome.latencies(MIXED).count,
        "steady_p99_ms": _p99(steady),
        "around_p99_ms": _p99(around),
        "preparing_p99_ms": _p99(preparing),
        "max_ms": {name: part.values.max() / 1000 for name, part in (("steady", steady), ("around", around))},
        "calls": {"steady": steady.count, "around": around.count},
        "rollout_to_first_answer_s": [answered - at for answered, at in zip(swapped, rollouts, strict=True)],
        "peak_per_s": peak,
        "offered_per_s": outcome.offered_rate,
        "achieved_per_s": outcome.achieved,
        "sent_late_p99_ms": _p99(outcome.late),
        "kinds": {kind: outcome.latencies(kind).count for kind in outcome.kinds},
        "errors": dict(outcome.errors),
    }
    say(
        f"{case.path.rpartition('/')[2]} at {peak / 2:,.0f}/s, {swaps} swaps: p99 {_p99(steady):.2f} ms steady, "
        f"{_p99(preparing):.2f} while preparing, {_p99(around):.2f} around the swaps, {figures['ratio']:.2f} x; "
        f"{outcome.failed} failed, {figures['mixed']} mixed"
    )
    return figures


def _version(turn: int) -> int:
    """What the rollout of that number, from 0, names."""
    return 2 - turn % 2


def _first_answer(outcome: Outcome, version: int, from_s: float) -> float:
    found = [
        at for kind in outcome.kinds if kind.startswith(f"{version} ") for at in outcome.slices(kind) if at >= from_s
    ]
    if not found:
        raise SystemExit(f"version {version} never answered: {outcome.kinds} {dict(outcome.errors)}")
    return min(found)


def _p99(latencies: Latencies) -> float:
    return percentiles(latencies.histogram())["p99"]


class _Swapping:
    """Appends the rollouts, so many seconds after calls began to count."""

    def __init__(self, settings: Settings, model_name: str, rollouts: Sequence[float]) -> None:
        self._settings = settings
        self._model = model_name
        self._rollouts = rollouts
        self._begin_s = 0.0
        self.thread = threading.Thread(target=self._swap)

    def begin(self, begin_s: float) -> None:
        """Take down when they did, and go on in a thread."""
        self._begin_s = begin_s
        self.thread.start()

    def _swap(self) -> None:
        bus = connect_bus(self._settings)
        ledger = Ledger(bus, self._settings.topics)
        for turn, at_s in enumerate(self._rollouts):
            time.sleep(max(0.0, self._begin_s + at_s - time.monotonic()))
            pin_version(ledger, self._model, _version(turn), {})
        bus.close()


if __name__ == "__main__":
    main()
