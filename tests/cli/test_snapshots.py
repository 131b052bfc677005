"""`nearline snapshot` and `nearline snapshots`."""

import re
from pathlib import Path

import pytest

from serving.cli.errors import USAGE
from tests.cli.program import Program
from tests.snapshots.stage import Stage


@pytest.fixture
def stage(program: Program) -> Stage:
    return Stage(program.settings)


def test_one_is_taken_and_listed(program: Program, stage: Stage) -> None:
    stage.apply(1)
    said = program.ask("snapshot")
    assert Path(said["url"].removeprefix("file://"), "manifest.json").exists()
    assert said["snapshot"]["events"] == {"0": 1, "1": 1}
    assert said["snapshot"]["commands"] == {"0": 0, "1": 0}
    second = program("snapshot")
    assert second.code == 0
    assert second.out.startswith("stored file://")
    assert re.search(r": 2 shards, 0\.0 MB in \d+\.", second.out)

    listed = program.ask("snapshots")["snapshots"]
    assert [entry["usable"] for entry in listed] == [True, True]
    assert {**said["snapshot"], "usable": True, "reason": ""} == listed[1]
    table = program("snapshots").out
    assert all(entry["name"] in table for entry in listed)


def test_why_one_cannot_be_used_is_said(program: Program, stage: Stage) -> None:
    stage.apply(1)
    program.ask("snapshot")
    stage.lose_bus()
    (entry,) = program.ask("snapshots")["snapshots"]
    assert (entry["usable"], entry["reason"]) == (False, "there is no topic nearline.events")
    assert "no: there is no topic nearline.events" in program("snapshots").out


def test_they_are_listed_while_the_bus_is_away(program: Program, stage: Stage) -> None:
    stage.apply(1)
    program.ask("snapshot")
    (entry,) = program.ask("snapshots", "--bus", "kafka://127.0.0.1:1")["snapshots"]
    assert entry["usable"] is None
    assert "Kafka at 127.0.0.1:1" in entry["reason"]


def test_a_shared_store_needs_none(program: Program) -> None:
    ended = program("snapshot", "--store", "redis://127.0.0.1:1/0")
    assert (ended.code, ended.out.splitlines()) == (
        0,
        ["no snapshot is needed: all nodes share this store, and a new one finds everything in it"],
    )
    assert program.ask("snapshot", "--store", "redis://127.0.0.1:1/0")["snapshot"] is None


def test_without_a_store_there_is_nothing_to_take(program: Program) -> None:
    ended = program("snapshot")
    assert (ended.code, "run a node first" in ended.error) == (USAGE, True)
    assert program("snapshots").out == "no snapshot; take one with `nearline snapshot`\n"
