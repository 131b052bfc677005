"""P8: what clients notice of a hot swap, at half of the peak load: failures, mixed answers, and latency around it.

    python -m benchmarks.hot_swap [--seconds S] [--transport NAME]

Once for Recommend (customers with near-line predictions, whose new ones are filled in before the switch), once for
ModelInfer. A node with one serving worker on one core, the load generator on the other: fetching, verifying, the
trial, loading and filling compete with answering. The next version is announced as held beforehand; `--seconds` after
the load began a rollout names it. Models show their version in every value (swap_answers.py).
"""

import tempfile
import threading
import time
from collections.abc import Callable
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
from serving.loadtest.outcome import Outcome, percentiles
from serving.loadtest.plan import Open
from serving.loadtest.requests import RECOMMEND, recommend_requests
from serving.settings import Settings

REQUIRED = 1.5
CUSTOMERS, M = 2_000, 16
_PEAK_S = 4.0
_SLICE_S = 0.05
_AFTER_S = 8.0


@dataclass(frozen=True, slots=True)
class Case:
    """A method under load while `model` is swapped from version 1 to 2."""

    model: str
    path: str
    requests: list[bytes]
    read: Callable[[bytes], str]


def main() -> None:
    """Measure, and print the result."""
    asked = parser(__doc__, 6.0).parse_args()
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
            found = {name: _measure(settings, case, asked.seconds) for name, case in cases.items()}
    worst = max(figures["ratio"] for figures in found.values())
    Result(
        target="P8",
        what="p99 in the second around a hot swap against steady state, at half of the peak",
        value=worst,
        unit="x, the worse of Recommend and ModelInfer",
        required=f"no failure, no mixed answer, <= {REQUIRED} x",
        met=worst <= REQUIRED and not any(figures["failed"] or figures["mixed"] for figures in found.values()),
        details={"transport": asked.transport, **found},
    ).show()


def _measure(settings: Settings, case: Case, steady_s: float) -> dict[str, Any]:
    target = address(settings)
    peak = closed(target, case.path, case.requests, M, _PEAK_S, read=case.read).achieved
    swapping = _Swapping(settings, case.model, steady_s)
    outcome = load(
        target, case.path, case.requests, Open(peak / 2), steady_s + _AFTER_S, case.read,
        slice_s=_SLICE_S, begun=swapping.begin,
    )  # fmt: skip
    swapping.thread.join()
    answered = [at for kind in outcome.kinds if kind.startswith("2 ") and (at := outcome.first_slice(kind)) is not None]
    if not answered:
        raise SystemExit(f"{case.model}: version 2 never answered: {outcome.kinds} {dict(outcome.errors)}")
    swap_s = min(answered)
    steady, around, before = (
        _p99(outcome, *span)
        for span in ((0.0, steady_s), (swap_s - 0.5, swap_s + 0.5), (steady_s, max(swap_s, steady_s + _SLICE_S)))
    )
    after = _p99(outcome, swap_s + 0.5, steady_s + _AFTER_S)
    figures = {
        "ratio": around / steady,
        "failed": outcome.failed,
        "unsent": outcome.unsent,
        "mixed": outcome.latencies(MIXED).count,
        "steady_p99_ms": steady,
        "around_p99_ms": around,
        "preparing_p99_ms": before,
        "after_p99_ms": after,
        "rollout_to_first_answer_s": swap_s - steady_s,
        "peak_per_s": peak,
        "offered_per_s": outcome.offered_rate,
        "achieved_per_s": outcome.achieved,
        "sent_late_p99_ms": percentiles(outcome.late.histogram())["p99"],
        "kinds": {kind: outcome.latencies(kind).count for kind in outcome.kinds},
        "errors": dict(outcome.errors),
    }
    say(
        f"{case.path.rpartition('/')[2]} at {peak / 2:,.0f}/s: p99 {steady:.2f} ms steady, {before:.2f} while "
        f"preparing, {around:.2f} around the swap, {after:.2f} after; {outcome.failed} failed, {figures['mixed']} mixed"
    )
    return figures


def _p99(outcome: Outcome, first_s: float, last_s: float) -> float:
    return percentiles(outcome.latencies(first_s=first_s, last_s=last_s).histogram())["p99"]


class _Swapping:
    """Appends the rollout so many seconds after calls began to count."""

    def __init__(self, settings: Settings, model_name: str, after_s: float) -> None:
        self._settings = settings
        self._model = model_name
        self._after_s = after_s
        self.thread = threading.Thread(target=self._swap)

    def begin(self, begin_s: float) -> None:
        self._at_s = begin_s + self._after_s
        self.thread.start()

    def _swap(self) -> None:
        bus = connect_bus(self._settings.bus, self._settings.data_dir)
        time.sleep(max(0.0, self._at_s - time.monotonic()))
        pin_version(Ledger(bus, self._settings.topics), self._model, 2, {})
        bus.close()


if __name__ == "__main__":
    main()
