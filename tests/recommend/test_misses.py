"""Asking near-line workers for what was missed."""

from pathlib import Path

import pytest

from protos.commands import Recompute
from serving.recommend import misses as module
from serving.recommend.misses import Misses
from tests.builders.buses import TOPICS, Connect, everything
from tests.builders.waiting import wait_until

COMMANDS = TOPICS.commands.name


def test_what_many_miss_at_once_is_asked_for_once_each(tmp_path: Path) -> None:
    assert everything(tmp_path, COMMANDS) == []
    misses = Misses(Connect(tmp_path), TOPICS)
    misses.start()
    names = [(b"e%d" % number, "m", version) for number in range(10) for version in (1, 2)]
    asked = [misses.missed(*name) for name in [*names, *names]]
    assert asked == [True] * len(names) + [False] * len(names)
    wait_until(lambda: len(everything(tmp_path, COMMANDS)) == len(names))
    misses.stop()
    found = {(record.key, record.value) for record in everything(tmp_path, COMMANDS)}
    assert found == {Recompute(*name).encode() for name in names}


def test_what_was_not_answered_is_asked_for_again_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    misses = Misses(Connect(tmp_path), TOPICS)
    assert misses.missed(b"e", "m", 1)
    assert not misses.missed(b"e", "m", 1)
    monkeypatch.setattr(module, "_AGAIN_S", -1.0)
    assert misses.missed(b"e", "m", 1)


def test_what_does_not_fit_is_not_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 2)
    misses = Misses(Connect(tmp_path), TOPICS)
    assert [misses.missed(b"e%d" % number, "m", 1) for number in range(3)] == [True, True, False]


def test_while_the_bus_is_away_nothing_waits_for_it_and_later_misses_get_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RETRY_S", 0.01)
    assert everything(tmp_path, COMMANDS) == []
    connect = Connect(tmp_path)
    connect.away = True
    misses = Misses(connect, TOPICS)
    misses.start()
    misses.missed(b"lost", "m", 1)
    wait_until(lambda: connect.refused)
    connect.away = False
    misses.missed(b"later", "m", 1)
    wait_until(lambda: b"later" in [record.key for record in everything(tmp_path, COMMANDS)])
    misses.stop()


def test_it_ends_though_nobody_ever_missed_anything(tmp_path: Path) -> None:
    misses = Misses(Connect(tmp_path), TOPICS)
    misses.start()
    misses.stop()
    assert not misses._thread.is_alive()
