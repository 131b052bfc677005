"""The chart of a report: rates and p99 of the best configuration of each peer. Needs matplotlib (the extra `bench`)."""

import hashlib
from pathlib import Path
from typing import Any

from benchmarks.peers.report import DOCS, PATH, Report, quiet

CHART = DOCS / "peers.png"
DIGEST = "Source digest"
"""Of the JSON that a chart was drawn from: in the PNG's text."""
_COLORS = {1: "#9ecae1", 16: "#4292c6", 64: "#08519c"}
_HEIGHT = 0.26


def digest(source: Path = PATH) -> str:
    """SHA-256 of the JSON, in hexadecimal."""
    return hashlib.sha256(source.read_bytes()).hexdigest()


def draw(source: Path = PATH, path: Path = CHART) -> None:
    """Draw as PNG."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra, needed for pictures only

    report = Report.read(source)
    rows = [row for row in report.best() if len(row.loads) > 1][::-1]
    floor = next((row for row in report.rows if row.protocol == "none"), None)
    figure = Figure(figsize=(11, 2.0 + 0.72 * len(rows)), layout="constrained")
    axes: Any = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    for place, m in enumerate(sorted(_COLORS, reverse=True)):
        at = [number + (place - 1) * _HEIGHT for number in range(len(rows))]
        for axis, values, form in (
            (axes[0], [row.loads[m].per_s for row in rows], "{:,.0f}"),
            (axes[1], [row.loads[m].p99_ms for row in rows], "{:,.1f}"),
        ):
            bars = axis.barh(at, values, _HEIGHT, color=_COLORS[m], label=f"m={m}: {4 * m} requests at any time")
            axis.bar_label(bars, [form.format(value) for value in values], padding=3, fontsize=8)
    axes[0].set_yticks(range(len(rows)), [f"{row.peer}\n({row.protocol})" for row in rows])
    for label, row in zip(axes[0].get_yticklabels(), rows, strict=True):
        label.set_fontweight("bold" if row.peer == "nearline" else "normal")
    if floor is not None:
        rate = next(iter(floor.loads.values())).per_s
        axes[0].axvline(rate, color="#d62728", linestyle="--", linewidth=1, label="ONNX Runtime in process, batch 1")
    axes[0].xaxis.set_major_formatter("{x:,.0f}")
    axes[0].set_xlabel("answers a second (more is better)")
    axes[1].set_xlabel("p99 latency, ms, logarithmic (less is better)")
    axes[1].set_xscale("log")
    for axis in axes:
        axis.margins(x=0.2)
        axis.spines[["top", "right"]].set_visible(False)
    handles, labels = axes[0].get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda number: (not labels[number].startswith("m="), len(labels[number])))
    figure.legend([handles[n] for n in order], [labels[n] for n in order], loc="outside lower center", ncols=2)
    busy = "" if quiet(report) else " · not a quiet machine: rates of different servers do not compare"
    figure.suptitle(
        f"One model, one row a request, one core · {report.machine['cpu']} · {report.date}{busy}", fontsize=10
    )
    figure.savefig(path, dpi=110, metadata={DIGEST: digest(source)})
