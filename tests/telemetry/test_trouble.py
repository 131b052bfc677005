"""A trouble that lasts is told a few times."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from serving.telemetry.trouble import REMIND_S, Trouble


class Scene:
    """A clock by hand."""

    def __init__(self, lines: list[Any]) -> None:
        self.now = 100.0
        self.lines = lines
        self.trouble = Trouble("x.waiting", over="x.back", clock=lambda: self.now)

    def errors(self) -> list[str]:
        return [line["error"] for line in self.lines if line["event"] == "x.waiting"]


@pytest.fixture
def scene() -> Iterator[Scene]:
    with capture_logs() as lines:
        yield Scene(lines)


def test_without_trouble_nothing_is_said(scene: Scene) -> None:
    scene.trouble.ended()
    assert scene.lines == []


def test_it_is_told_once_and_when_it_is_over(scene: Scene) -> None:
    for _ in range(30):
        scene.trouble.met("away", records=3)
        scene.now += 1
    scene.trouble.ended(records=5)
    scene.trouble.ended(records=5)
    assert scene.lines == [
        {"event": "x.waiting", "log_level": "warning", "error": "away", "attempts": 1, "lasts_s": 0.0, "records": 3},
        {"event": "x.back", "log_level": "info", "attempts": 30, "lasted_s": 30.0, "records": 5},
    ]


def test_it_is_told_again_once_a_minute(scene: Scene) -> None:
    for _ in range(181):
        scene.trouble.met("away")
        scene.now += 1
    assert [line["lasts_s"] for line in scene.lines] == [0, 60, 120, 180]


def test_another_reason_is_told_and_other_numbers_are_none(scene: Scene) -> None:
    for reason in ("port 1 refused", "port 2 refused", "no answer in 0.1 s", "port 1 refused", "no answer in 3.7 s"):
        scene.trouble.met(reason)
    assert scene.errors() == ["port 1 refused", "no answer in 0.1 s"]


def test_a_trouble_that_comes_back_is_told_anew(scene: Scene) -> None:
    for _ in range(2):
        scene.trouble.met("away")
        scene.trouble.ended()
    assert [line["event"] for line in scene.lines] == ["x.waiting", "x.back"] * 2


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 200)), max_size=60))
def test_a_minute_never_holds_more_than_a_line_for_each_reason_and_one(attempts: list[tuple[str, float]]) -> None:
    with capture_logs() as lines:
        scene = Scene(lines)
        for reason, pause in attempts:
            scene.trouble.met(reason)
            scene.now += pause
    times = [line["lasts_s"] for line in lines]
    assert all(sum(at <= other < at + REMIND_S - 1 for other in times) <= 4 for at in times)
