"""The table that benchmarks end with."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks import summary

MET = {
    "target": "P1",
    "what": "hits",
    "value": 40.0,
    "unit": "k/s",
    "reference": 1.0,
    "ratio": 40.0,
    "required": ">= 40",
}


def run(monkeypatch: pytest.MonkeyPatch, lines: dict[str, str | None], *options: str) -> int:
    monkeypatch.setattr(summary, "_run", lambda name: lines[name])
    monkeypatch.setattr(sys, "argv", ["summary", *lines, *options])
    try:
        summary.main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_every_target_has_a_line_and_the_file_has_what_was_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    line = json.dumps({**MET, "met": True})
    unmet = json.dumps({**MET, "met": False, "reference": None, "ratio": None})
    out = tmp_path / "lines.json"
    assert run(monkeypatch, {"P1": line, "P2": unmet, "P3": None}, "--out", str(out)) == 1, "one broke"
    rows = {row.split()[1]: row for row in capsys.readouterr().out.splitlines() if row.startswith("│ P")}
    assert "yes" in rows["P1"]
    assert "no" in rows["P2"]
    assert "broke" in rows["P3"]
    assert out.read_text().splitlines() == [line, unmet]


def test_figures_of_several_kinds_have_a_line_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, {"stores": json.dumps({"benchmark": "stores", "unit": "entries/s", "results": []})}) == 0
    assert "entries/s" in capsys.readouterr().out


def test_what_was_not_met_is_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, {"P1": json.dumps({**MET, "met": False})}) == 0


def test_an_unknown_target_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, {"P99": None}) == 2
    assert "got P99" in capsys.readouterr().err
