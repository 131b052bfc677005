import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.peers import chart, table
from benchmarks.peers.__main__ import PEERS
from benchmarks.peers.report import PATH, Report
from docs.generate import texts
from tests.peers.measured import report, row

ABSENT: dict[str, Any] = {"loads": {}, "versions": {}, "reason": "cannot be installed here: error: no | wheel"}


def test_a_report_survives_its_file(tmp_path: Path) -> None:
    made = report(row("one", 100), row("two", 200, **ABSENT))
    made.write(tmp_path / "peers.json")
    assert Report.read(tmp_path / "peers.json") == made


def test_the_summary_has_the_best_configuration_of_each_peer_the_fastest_peer_first() -> None:
    made = report(row("one", 100, "slow"), row("one", 300, "fast"), row("two", 200), row("none", 0, **ABSENT))
    assert [(found.peer, found.configuration) for found in made.best()] == [
        ("one", "fast"),
        ("two", "plain"),
        ("none", "plain"),
    ]


def test_a_peer_that_could_not_be_had_is_in_the_table_with_the_reason() -> None:
    text = table.summary(report(row("one", 100), row("two", 200, **ABSENT)))
    assert "| two | gRPC | plain | not measured: cannot be installed here: error: no / wheel |" in text


def test_a_configuration_that_failed_does_not_hide_one_that_worked() -> None:
    made = report(row("one", 0, "broken", **ABSENT), row("one", 100, "works"))
    assert [found.configuration for found in made.best()] == ["works"]


def test_a_table_says_that_its_rows_do_not_compare_when_others_used_the_machine() -> None:
    assert "Other programs used 0.0 to 0.1 of the 2 cores" in table.summary(
        report(row("one", 1), row("two", 1, others=0.1))
    )
    assert "**Not a quiet machine: " in table.summary(report(row("one", 1), row("two", 1, others=1.5)))


def test_every_line_of_a_table_has_as_many_cells() -> None:
    lines = table.full(report(row("one", 100), row("two", 200, **ABSENT))).splitlines()
    assert {line.count(" | ") + line.count("|---") for line in lines if line.startswith("| ")} == {6}


def test_a_table_replaces_only_what_stands_between_its_markers() -> None:
    text = f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n"
    assert table.insert(text, "new") == f"before\n{table.BEGIN}\nnew\n{table.END}\nafter\n"
    with pytest.raises(ValueError, match="expected the lines"):
        table.insert("no markers", "new")


def test_the_chart_is_drawn_from_what_the_file_says(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    source, picture = tmp_path / "peers.json", tmp_path / "peers.png"
    report(row("nearline", 300), row("one", 100), row("two", 200, **ABSENT)).write(source)
    chart.draw(source, picture)
    with image.open(picture) as opened:
        assert opened.text[chart.DIGEST] == chart.digest(source)
        assert opened.width > 800


def test_the_documents_show_the_measurement_that_is_committed() -> None:
    image = pytest.importorskip("PIL.Image")
    stale = [path.name for path, text in texts().items() if path.read_text(encoding="utf-8") != text]
    assert not stale, "run `make docs`"
    with image.open(chart.CHART) as opened:
        assert opened.text[chart.DIGEST] == chart.digest(), "run `python -m benchmarks.peers --draw`"


def test_the_measurement_that_is_committed_has_every_peer() -> None:
    measured = {found.peer for found in Report.read(PATH).rows}
    assert {peer.name for peer in PEERS} <= measured


def test_every_peer_with_an_environment_has_a_lock_file_with_hashes() -> None:
    requirements = Path(__file__).parents[2] / "benchmarks" / "peers" / "requirements"
    for peer in PEERS:
        if peer.key == "nearline":
            continue
        locked = (requirements / f"{peer.key}.txt").read_text()
        pinned = re.findall(r"^[a-z0-9][^ =]*==[^ ]+ .*\\\n +--hash=sha256:", locked, re.MULTILINE)
        assert len(pinned) == len(re.findall(r"^[a-z0-9]", locked, re.MULTILINE)) > 0
