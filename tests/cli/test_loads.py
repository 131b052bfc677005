"""`nearline load`, `loads`."""

from pathlib import Path

import polars as pl
import pytest

from serving.bus.connect import connect_bus
from serving.cli.errors import USAGE
from tests.builders.ledger import announcement
from tests.cli.program import Program


@pytest.fixture
def file(program: Program, tmp_path: Path) -> str:
    settings = program.settings
    bus = connect_bus(settings)
    bus.ensure_topics(settings.topics.all())
    bus.append_many(settings.topics.models.name, [announcement("m", 1)])
    bus.close()
    path = tmp_path / "p.parquet"
    pl.DataFrame({"who": ["ann"], "items": [["a", "b"]], "scores": [[2.0, 1.0]]}).write_parquet(path)
    return str(path)


def test_loads_are_said_listed_and_undone(program: Program, file: str) -> None:
    assert program("loads", "m").out == "m: nothing was loaded\n"
    said = program.ask("load", "m", file, "--entity", "who", "--computed-at", "2026-01-01")
    assert (said["load"], said["version"], said["rows"], said["shown"]) == (1, 1, 1, 1)
    out = program("load", "m", file, "--entity", "who").out
    assert out == "m: load 2 of version 1, 1 predictions; it is seen once every shard has all of it\n"
    program("load", "m", file, "--entity", "who")
    listed = program.ask("loads", "m")
    assert (listed["shown"], [(one["load"], one["kept"]) for one in listed["loads"]]) == (
        3,
        [(3, True), (2, True), (1, False)],
    )
    assert "dropped" in program("loads", "m").out
    assert program("load", "m", "--undo").out == "m: load 2 is shown again\n"
    assert program.ask("load", "m", "--undo") == {"model": "m", "shown": 1}
    assert program("load", "m", "--undo").out == "m: no load is shown any more\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["load", "m"], "load: expected either a FILE or --undo, got neither"),
        (["load", "m", "FILE", "--undo"], "load: expected either a FILE or --undo, got both"),
        (["load", "m", "FILE"], "column entity: expected one of the file's (who, items, scores), got none"),
        (["load", "m", "FILE", "--version", "4"], "version: expected one of m's that is not retired (1), got 4"),
        (["load", "m", "--undo"], "undo: expected a load of m that is shown, got none"),
        (["loads", "n"], "model: expected an announced one (m), got 'n'"),
    ],
)
def test_what_is_wrong_is_one_line(program: Program, file: str, arguments: list[str], message: str) -> None:
    ended = program(*(file if word == "FILE" else word for word in arguments))
    assert (ended.code, ended.error) == (USAGE, message)
