"""What the demo found out, as one summary."""

from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

_BAR = 20


@dataclass(slots=True)
class Quality:
    """Recall@20 of one measure over so many cases: popularity's, and the model's.

    `without`: the model's near-line answer, where `model` is of the one that knows what the customer looks at.
    """

    measure: str
    cases: int
    popularity: float
    model: float
    cases_are: str
    answers_of: str
    without: float | None = None

    @property
    def times(self) -> float:
        """How many times popularity's."""
        return self.model / self.popularity if self.popularity else float("inf")


@dataclass(slots=True)
class Report:
    """Filled in act by act."""

    source: str = ""
    purchases: int = 0
    entities: int = 0
    items: int = 0
    period: str = ""
    replayed: int = 0
    replay_s: float = 0.0
    quality: list[Quality] = field(default_factory=list)
    fresh_p50_ms: float = 0.0
    fresh_p99_ms: float = 0.0
    swap_answers: int = 0
    swap_failed: int = 0
    swap_mixed: int = 0
    swap_by_version: dict[int, int] = field(default_factory=dict)
    swap_s: float = 0.0
    swap_online: int = 0
    ready_s: float = 0.0
    switch_s: float = 0.0
    filled: int = 0
    broken_error: str = ""
    broken_workers: int = 0
    still_serving: int = 0
    rolled_back_to: int = 0
    prefix: str = ""

    @property
    def ended_well(self) -> bool:
        """Nothing failed that must not, and what had to fail did."""
        return not (self.swap_failed or self.swap_mixed) and bool(self.broken_error) and self.rolled_back_to == 1

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {**asdict(self), "ended_well": self.ended_well}

    def show(self, console: Console) -> None:
        """Print the summary."""
        console.rule("summary")
        facts = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
        facts.add_row(
            "data",
            f"{self.source}: {self.purchases:,} purchases, {self.entities:,} customers, "
            f"{self.items:,} products, {self.period}",
        )
        rate = self.replayed / self.replay_s if self.replay_s else 0
        facts.add_row(
            "near-line",
            f"{self.replayed:,} events replayed and computed in {self.replay_s:.1f} s ({rate:,.0f} a second)",
        )
        facts.add_row(
            "fresh",
            f"event → new prediction readable over gRPC: median {self.fresh_p50_ms:.0f} ms, "
            f"99 % within {self.fresh_p99_ms:.0f} ms (a wave of customers at a time)",
        )
        versions = ", ".join(f"version {v}: {n:,}" for v, n in sorted(self.swap_by_version.items()))
        facts.add_row(
            "hot swap",
            f"{self.swap_answers:,} answers while version 2 was published ({versions}): "
            f"{_count(self.swap_failed)} failed, {_count(self.swap_mixed)} mixed",
        )
        facts.add_row(
            "switch",
            f"version 2 READY after {self.ready_s:.1f} s, answers Recommend after {self.switch_s:.1f} s, "
            f"computed ahead for {self.filled:,} customers",
        )
        facts.add_row(
            "broken",
            f"version 3 in {self.broken_workers} workers: {self.broken_error}; "
            f"version {self.still_serving} went on serving",
        )
        facts.add_row("rollback", f"version {self.rolled_back_to} serves again")
        console.print(facts)
        console.print(self._quality_table())

    def _quality_table(self) -> Table:
        table = Table(title="recall@20", title_justify="left")
        for column in ("measure", "by", "recall"):
            table.add_column(column, no_wrap=True)
        table.add_column("", no_wrap=True, min_width=_BAR)
        table.add_column("", no_wrap=True, justify="right")
        most = max((max(q.model, q.popularity) for q in self.quality), default=1.0) or 1.0
        for quality in self.quality:
            popular = _bar(quality.popularity / most)
            table.add_row(quality.measure, "popularity", f"{quality.popularity:.3f}", popular, "")
            if quality.without is not None:
                bar = _bar(quality.without / most)
                table.add_row("", "near-line", f"{quality.without:.3f}", bar, "")
            of, bar = f"  {quality.cases:,} {quality.cases_are}", f"[green]{_bar(quality.model / most)}[/]"
            times = f"{quality.times:.1f}x"
            table.add_row(of, quality.answers_of, f"[bold]{quality.model:.3f}[/]", bar, times)
        return table


def _bar(part: float) -> str:
    return "█" * round(part * _BAR) or "▏"


def _count(number: int) -> str:
    return "none" if number == 0 else f"[bold red]{number:,}[/]"
