"""`nearline block`, `blocked`."""

import io
import time
from pathlib import Path

import pytest

from serving.artifacts.store import FsspecArtifacts
from serving.bus.connect import connect_bus
from serving.cli.errors import USAGE
from serving.cli.times import EXPECTED_TIME
from tests.builders.catalogues import announce_catalogue
from tests.builders.ledger import announcement
from tests.cli.program import Program


@pytest.fixture
def model(program: Program) -> str:
    settings = program.settings
    bus = connect_bus(settings)
    bus.ensure_topics(settings.topics.all())
    bus.append_many(settings.topics.models.name, [announcement("m", 1)])
    bus.close()
    return "m"


def test_items_are_blocked_listed_and_lifted(program: Program, model: str) -> None:
    assert program("blocked", model).out == "m: nothing is blocked\n"
    before = time.time() * 1000
    said = program.ask("block", model, "a", "b", "--until", "2h", "--reason", "recalled")
    assert 0 <= said["until_ms"] - before - 7_200_000 < 60_000
    assert program("block", model, "c").out == "m: 1 blocked, 3 blocked in all; see `nearline blocked m`\n"
    listed = program.ask("blocked", model)["blocked"]
    assert [(one["item"], bool(one["until_ms"])) for one in listed] == [("a", True), ("b", True), ("c", False)]
    assert "for ever" in program("blocked", model).out
    assert program.ask("block", model, "a", "c", "--lift")["blocked"] == 1


def test_items_come_from_standard_input(program: Program, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("a\nb\n\n"))
    assert program.ask("block", model, "-")["items"] == ["a", "b"]


def test_a_time_may_be_an_instant(program: Program, model: str) -> None:
    assert program.ask("block", model, "a", "--until", "2100-01-01T01:00+01:00")["until_ms"] == 4_102_444_800_000
    assert program.ask("block", model, "a", "--until", "2100-01-01")["until_ms"] == 4_102_444_800_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["block", "m", "a", "--lift", "--until", "2h"], "block: expected either --until or --lift, got both"),
        (["block", "m", "a", "--lift"], "items: expected one that is blocked for m, got 'a'"),
        (
            ["block", "m", "a", "--until", "soon"],
            f"--until: expected {EXPECTED_TIME}, got 'soon'",
        ),
        (["blocked", "n"], "model: expected an announced one (m), got 'n'"),
    ],
)
@pytest.mark.usefixtures("model")
def test_what_is_wrong_is_one_line(program: Program, arguments: list[str], message: str) -> None:
    ended = program(*arguments)
    assert (ended.code, ended.error) == (USAGE, message)


@pytest.fixture
def catalogue(program: Program, tmp_path: Path) -> Path:
    """File of the catalogue of version 2: a, b."""
    settings = program.settings
    bus = connect_bus(settings)
    bus.ensure_topics(settings.topics.all())
    store = FsspecArtifacts(settings.artifacts_url)
    announce_catalogue((bus, settings.topics.models.name), store, tmp_path, 1, ["b", "c"])
    path = announce_catalogue((bus, settings.topics.models.name), store, tmp_path, 2, ["a", "b"])
    bus.close()
    return path


@pytest.mark.usefixtures("catalogue")
def test_an_item_that_no_catalogue_has_is_blocked_with_a_warning(program: Program) -> None:
    ended = program("block", "m", "a", "x", "c")
    assert (ended.code, ended.err) == (0, "warning: in no catalogue of m, and blocked all the same: 'x'\n")
    assert program.ask("block", "m", "x", "y", "a")["unknown"] == ["x", "y"]
    assert [one["item"] for one in program.ask("blocked", "m")["blocked"]] == ["a", "c", "x", "y"]
    assert program("block", "m", "x", "--lift").err == ""


def test_an_artifact_store_that_is_away_keeps_nobody_from_blocking(program: Program, catalogue: Path) -> None:
    catalogue.unlink()
    ended = program("block", "m", "a")
    assert (ended.code, ended.out.startswith("m: 1 blocked, 1 blocked in all")) == (0, True)
    assert ended.err == "warning: whether a catalogue of m has them could not be found out\n"
    assert program.ask("block", "m", "a")["unknown"] is None
