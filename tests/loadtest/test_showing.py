"""What is shown of an outcome, and what is written."""

import io
import json
from pathlib import Path

import pytest
from hdrh.histogram import HdrHistogram
from rich.console import Console

from serving.errors import InvalidRequestError
from serving.loadtest.chart import check_chart, curve, draw
from serving.loadtest.describe import describe
from serving.loadtest.outcome import Outcome
from serving.loadtest.plan import Closed
from serving.loadtest.screen import Progress, print_outcome
from tests.loadtest.loads import run_against
from tests.loadtest.server import Call


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    def answer(call: Call) -> None:
        if call.stream % 20 == 1:
            call.fail(8, "[too] much")
        else:
            call.reply(call.message)

    return run_against(answer)[0]


def printed(outcome: Outcome) -> str:
    console = Console(file=io.StringIO(), width=120)
    print_outcome(console, outcome)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_rates_kinds_percentiles_and_errors_are_shown(outcome: Outcome) -> None:
    text = printed(outcome)
    assert f"{outcome.offered_rate:,.0f}/s offered" in text
    assert f"{outcome.achieved:,.0f}/s achieved" in text
    for word in ("one", "two", "all", "p99.9", "max", "█"):
        assert word in text
    assert f"{outcome.failed} x RESOURCE_EXHAUSTED: [too] much" in text


def test_json_has_the_figures_and_whole_histograms(outcome: Outcome) -> None:
    said = json.loads(json.dumps(describe(outcome)))
    assert said["answered"] + said["failed"] == outcome.offered
    assert said["errors"] == {"RESOURCE_EXHAUSTED": said["failed"]}
    assert set(said["kinds"]) == {"one", "two"}
    histogram = HdrHistogram.decode(said["latency_ms"]["hdr"])
    assert histogram.get_total_count() == said["latency_ms"]["count"] == said["answered"]
    assert histogram.get_value_at_percentile(99) / 1000 == pytest.approx(said["latency_ms"]["p99"], rel=0.01)


def test_a_closed_loop_has_no_offered_rate() -> None:
    outcome, _ = run_against(lambda call: call.reply(b"x"), pacing=Closed(2))
    said = describe(outcome)
    assert (said["offered_per_s"], said["unsent"], said["pacing"]) == (None, None, {"closed": 2})
    assert "2 at once" in printed(outcome)


def test_the_chart_is_a_picture_and_its_curve_ascends(outcome: Outcome, tmp_path: Path) -> None:
    x, y = curve(outcome.latencies())
    assert x == sorted(x)
    assert y == sorted(y)
    assert x[-1] == outcome.answered
    draw(outcome, tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


def test_a_chart_of_another_kind_is_refused_beforehand(tmp_path: Path) -> None:
    check_chart(tmp_path / "chart.svg")
    with pytest.raises(InvalidRequestError, match=r"--chart: expected a file that ends in .png, .svg or .pdf"):
        check_chart(tmp_path / "chart.xls")


def test_progress_is_shown_on_a_terminal_only(outcome: Outcome) -> None:
    for terminal in (True, False):
        file = io.StringIO()
        with Progress(Console(file=file, force_terminal=terminal, width=120)) as progress:
            progress.begun(-100.0)
            progress.show(outcome)
        assert ("failed" in file.getvalue()) is terminal
