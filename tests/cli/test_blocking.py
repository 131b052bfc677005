"""`nearline block`, `blocked`."""

import io
import time

import pytest

from serving.bus.connect import connect_bus
from serving.cli.errors import USAGE
from serving.cli.times import EXPECTED_TIME
from tests.builders.ledger import announcement
from tests.cli.program import Program


@pytest.fixture
def model(program: Program) -> str:
    settings = program.settings
    bus = connect_bus(settings.bus, settings.data_dir)
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
