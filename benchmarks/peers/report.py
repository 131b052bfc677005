"""What was measured, as docs/peers.json holds it."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[2] / "docs"
PATH = DOCS / "peers.json"
_RANKED_BY = 16
_QUIET_CORES = 0.2


@dataclass(slots=True)
class Load:
    """Answers a second, latency in milliseconds (None: not measured), microseconds of the server's CPU an answer."""

    per_s: float
    p50_ms: float | None = None
    p99_ms: float | None = None
    cpu_us: float | None = None

    def words(self) -> str:
        """For a table's cell."""
        if self.p50_ms is None or self.p99_ms is None:
            return f"{self.per_s:,.0f}/s"
        return f"{self.per_s:,.0f}/s, {self.p50_ms:.2f} / {self.p99_ms:.2f} ms"


@dataclass(slots=True)
class Row:
    """A configuration of a peer: its loads by m, or the reason why there are none.

    others: cores that other programs used meanwhile.
    """

    peer: str
    protocol: str
    configuration: str
    versions: dict[str, str] = field(default_factory=dict)
    loads: dict[int, Load] = field(default_factory=dict)
    reason: str = ""
    others: float = 0.0


@dataclass(slots=True)
class Report:
    """All rows, and on what, when and how they were measured."""

    date: str
    machine: dict[str, Any]
    method: dict[str, Any]
    rows: list[Row]

    def best(self) -> list[Row]:
        """One row for each peer, that with the highest rate at m=16: the fastest first, those without figures last."""
        best: dict[str, Row] = {}
        for row in self.rows:
            if row.peer not in best or _rank(row) > _rank(best[row.peer]):
                best[row.peer] = row
        return sorted(best.values(), key=_rank, reverse=True)

    def write(self, path: Path = PATH) -> None:
        """As JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path = PATH) -> "Report":
        """From JSON."""
        held = json.loads(path.read_text(encoding="utf-8"))
        rows = [
            Row(**{**row, "loads": {int(m): Load(**load) for m, load in row["loads"].items()}}) for row in held["rows"]
        ]
        return cls(**{**held, "rows": rows})


def quiet(report: Report) -> bool:
    """Whether other programs left the machine alone, so that rows compare."""
    return max(row.others for row in report.rows) < _QUIET_CORES


def _rank(row: Row) -> float:
    load = row.loads.get(_RANKED_BY) or row.loads.get(min(row.loads, default=0))
    return load.per_s if load else -1.0
