"""`nearline erase`: the record that it appends."""

import io

import pytest

from protos.commands import Erase, decode_command
from serving.bus.connect import connect_bus
from serving.bus.port import Record
from serving.cli.errors import USAGE
from tests.cli.program import Program


def _commands(program: Program) -> list[tuple[int, Record]]:
    bus = connect_bus(program.settings)
    bus.ensure_topics(program.settings.topics.all())
    reader = bus.reader(program.settings.topics.commands.name)
    try:
        return [(batch.partition, record) for batch in reader.poll(0) for record in batch.records]
    finally:
        reader.close()
        bus.close()


def test_erase_asks_the_owner_of_the_entitys_shard(program: Program) -> None:
    of_events = program.ask("event", "zoë", "item=a")
    said = program.ask("erase", "zoë", "--yes")
    ((partition, record),) = _commands(program)
    assert decode_command(record.key, record.value) == Erase("zoë".encode())
    assert said == {"entity": "zoë", "partition": partition, "offset": record.offset}
    assert partition == of_events["partition"]
    assert program("erase", "zoë", "--yes").out == f"asked for; the owner of shard {partition} removes it\n"


@pytest.mark.parametrize(("answer", "count"), [("y\n", 1), ("n\n", 0), ("\n", 0)])
def test_it_asks_first(program: Program, monkeypatch: pytest.MonkeyPatch, answer: str, count: int) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    ended = program("erase", "ann")
    assert ended.code == 0
    assert "remove everything that is stored of 'ann', for good?" in ended.out
    assert len(_commands(program)) == count


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["erase", "", "--yes"], "entity_id: expected 1 to 256 bytes of UTF-8, got an empty string"),
        (["erase", "a" * 257, "--yes"], "entity_id: expected at most 256 bytes of UTF-8, got 257"),
    ],
)
def test_who_can_be_nobody_is_said(program: Program, arguments: list[str], message: str) -> None:
    ended = program(*arguments)
    assert (ended.code, ended.error) == (USAGE, message)
    assert _commands(program) == []


def test_with_json_nobody_can_be_asked(program: Program) -> None:
    ended = program("erase", "ann", "--json")
    assert (ended.code, ended.json["error"].startswith("--json: expected --yes")) == (USAGE, True)
    assert _commands(program) == []
