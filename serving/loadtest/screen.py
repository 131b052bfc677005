"""A load test on a terminal: how it goes while it runs, and what came of it."""

import math
import time
from types import TracebackType
from typing import Self

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from serving.loadtest.outcome import PERCENTILES, Outcome, percentiles
from serving.loadtest.plan import Closed

_COLUMNS = ("p50", "p90", "p99", "p99.9", "max")
_RECENT_S = 2.0
_REFRESH_S = 0.25
_BAR = 40
_LATE_MS = 1.0
"""From here on a generator that sends late is worth a word."""


class Progress:
    """Shows an outcome that grows; nothing where standard error is no terminal."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._begin_s = math.inf
        self._shown_s = 0.0

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
            self._live.update(Text("connecting …"), refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def begun(self, begin_s: float) -> None:
        """Take down when calls begin to count."""
        self._begin_s = begin_s

    def show(self, outcome: Outcome) -> None:
        """Show what has come, not too often."""
        now = time.monotonic()
        if self._live is None or now - self._shown_s < _REFRESH_S:
            return
        self._shown_s = now
        self._live.update(self._line(outcome, now - self._begin_s), refresh=True)

    def _line(self, outcome: Outcome, passed_s: float) -> Text:
        duration = outcome.plan.duration_s
        if passed_s < 0:
            return Text(f"warming up, {-passed_s:.0f} s")
        recent = outcome.latencies(first_s=max(0.0, math.floor(passed_s) - _RECENT_S))
        found = percentiles(recent.histogram())
        done = min(1.0, passed_s / duration)
        bar = "━" * round(done * _BAR)
        rate = outcome.answered / max(_REFRESH_S, min(passed_s, duration))
        return Text.assemble(
            (f"{bar:<{_BAR}}", "cyan"),
            f" {min(passed_s, duration):.0f}/{duration:g} s  {rate:,.0f}/s  "
            f"p50 {found['p50']:.2f} ms  p99 {found['p99']:.2f} ms  ",
            (f"{outcome.failed:,} failed", "bold red" if outcome.failed else "dim"),
        )


def print_outcome(console: Console, outcome: Outcome) -> None:
    """Print the figures, errors, and a chart of the percentiles."""
    plan = outcome.plan
    offered = outcome.offered_rate
    asked = f"{offered:,.0f}/s offered (Poisson)" if offered is not None else f"{_running(outcome):,} at once"
    clients = f"{plan.processes} process{'es' * (plan.processes > 1)} x {plan.connections} connections"
    console.print(
        f"[bold]{plan.path.rpartition('/')[2]}[/] on {escape(plan.target)}: {asked}, "
        f"[bold]{outcome.achieved:,.0f}/s[/] achieved in {plan.duration_s:g} s, {clients}",
        soft_wrap=True,
        highlight=False,
    )
    if outcome.kinds:
        console.print(_table(outcome))
        console.print(_chart(outcome))
    for code, count in outcome.errors.most_common():
        words = "; ".join(outcome.messages.get(code, ()))
        text = f"[red]{count:,} x {escape(code)}[/]{': ' * bool(words)}{escape(words)}"
        console.print(text, soft_wrap=True, highlight=False)
    if outcome.unsent:
        console.print(
            f"[yellow]{outcome.unsent:,} calls that were due were never sent: all streams were busy[/]",
            soft_wrap=True,
            highlight=False,
        )
    late = percentiles(outcome.late.histogram())["p99"]
    if late > _LATE_MS:
        console.print(
            f"[yellow]the load generator itself sent 1 % of the calls {late:.1f} ms late or more: give it more "
            "processes, or cores of its own[/]",
            soft_wrap=True,
            highlight=False,
        )


def _running(outcome: Outcome) -> int:
    return outcome.plan.pacing.running if isinstance(outcome.plan.pacing, Closed) else 0


def _table(outcome: Outcome) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("answers")
    for column in ("count", "share", *(f"{name} ms" for name in _COLUMNS)):
        table.add_column(column, justify="right", no_wrap=True)
    kinds: list[str | None] = [*outcome.kinds]
    if len(kinds) > 1:
        kinds.append(None)
    for kind in kinds:
        latencies = outcome.latencies(kind)
        found = percentiles(latencies.histogram())
        share = f"{100 * latencies.count / outcome.answered:.1f} %"
        figures = [f"{found[name]:.2f}" for name in _COLUMNS]
        table.add_row(escape(kind or "all"), f"{latencies.count:,}", share, *figures)
    return table


def _chart(outcome: Outcome) -> Text:
    """Bars by the logarithm of the latency: from a tenth of the median to the maximum."""
    found = percentiles(outcome.latencies().histogram())
    names = [*(f"p{q:g}" for q in PERCENTILES), "max"]
    least = max(found["p50"] / 10, 1e-3)
    span = max(math.log(found["max"] / least), 1e-9)
    text = Text()
    for name in names:
        filled = round(_BAR * max(0.0, math.log(max(found[name], least) / least)) / span)
        text.append(f"{name:>7} {found[name]:>10.3f} ms  ")
        text.append("█" * filled + "\n", style="cyan")
    text.rstrip()
    return text
