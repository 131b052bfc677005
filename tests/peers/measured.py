"""Reports of tests."""

from typing import Any

from benchmarks.peers.report import Load, Report, Row


def row(peer: str, per_s: float, configuration: str = "plain", **more: Any) -> Row:
    loads = {m: Load(per_s + m, 0.5, 1.5, 20.0) for m in (1, 16, 64)}
    return Row(peer, "gRPC", configuration, **{"versions": {"python": "3.11.7", peer: "1.0"}, "loads": loads, **more})


def report(*rows: Row) -> Report:
    return Report(
        date="2026-01-02",
        machine={"cpu": "a CPU", "cores": 2, "system": "Linux", "release": "6"},
        method={"connections": 4, "m": [1, 16, 64], "seconds": 8.0, "warm_s": 5.0},
        rows=list(rows),
    )
