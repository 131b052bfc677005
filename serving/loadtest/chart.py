"""Latency by percentile as a picture. Needs matplotlib (the extra `bench`)."""

from pathlib import Path
from typing import Any

from serving.errors import InvalidRequestError, UserError
from serving.loadtest.latencies import Latencies
from serving.loadtest.outcome import Outcome

_TICKS = (0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999)
_POINTS_A_DECADE = 40
_SIZE = (9.0, 5.0)


def check_chart(path: Path) -> None:
    """UserError before a load is run whose chart could not be drawn."""
    if path.suffix.lower() not in {".png", ".svg", ".pdf"}:
        raise InvalidRequestError("--chart", "a file that ends in .png, .svg or .pdf", path.name)
    try:
        import matplotlib  # noqa: F401, ICN001, PLC0415 - an extra, needed for pictures only
    except ImportError:
        raise UserError("--chart needs matplotlib: pip install 'nearline[bench]'") from None


def draw(outcome: Outcome, path: Path) -> None:
    """Draw a line for each kind of answer: milliseconds over percentiles, both by logarithm."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - as above
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter  # noqa: PLC0415 - as above

    figure = Figure(figsize=_SIZE, layout="constrained")
    axes: Any = figure.subplots()
    longest = 10.0
    for kind in outcome.kinds:
        latencies = outcome.latencies(kind)
        x, y = curve(latencies)
        longest = max(longest, x[-1])
        axes.plot(x, y, label=f"{kind} ({latencies.count:,})", drawstyle="steps-pre")
    ticks = [tick for tick in _TICKS if 1 / (1 - tick / 100) <= longest * 1.01]
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks([1 / (1 - tick / 100) for tick in ticks], [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("percentile")
    axes.set_ylabel("latency, ms")
    axes.grid(visible=True, alpha=0.3)
    offered = outcome.offered_rate
    asked = f"{offered:,.0f}/s offered, " if offered is not None else ""
    axes.set_title(f"{outcome.plan.path.rpartition('/')[2]}: {asked}{outcome.achieved:,.0f}/s achieved")
    if outcome.kinds:
        axes.legend()
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise InvalidRequestError("--chart", "a file that can be written", f"{path}: {error}") from error


def curve(latencies: Latencies) -> tuple[list[float], list[float]]:
    """Return 1 / (1 - percentile) up to the number of latencies, and the milliseconds there."""
    histogram = latencies.histogram()
    x, y = [], []
    step, at, count = 10 ** (1 / _POINTS_A_DECADE), 1.0, max(1, latencies.count)
    while at < count:
        x.append(at)
        y.append(histogram.get_value_at_percentile(100 * (1 - 1 / at)) / 1000)
        at *= step
    return [*x, float(count)], [*y, histogram.get_max_value() / 1000]
