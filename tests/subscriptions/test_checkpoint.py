"""A folded ledger on disk."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protos.judging import Outcome
from protos.ledger import World
from protos.records import MILLION
from serving.subscriptions.checkpoint import CheckpointFile
from tests.builders.ledger import Entry, announcement, retirement, retrial, rollout

ENTRIES = [
    announcement("m", 1),
    announcement("m", 2, held=True),
    (b"m", b"poison"),
    announcement("other", 1),
    rollout("m", 3, {2: MILLION}),
    rollout("m", 3, {1: MILLION}),
    retirement("m", 1),
    retrial("m", 2, 5),
]


def saved(path: Path, entries: list[Entry]) -> World:
    """Fold and keep, as the follower does."""
    world, file = World(), CheckpointFile(path)
    for offset, (key, value) in enumerate(entries):
        if world.apply(offset, key, value).outcome is Outcome.ACCEPTED:
            file.accept(offset, value)
    file.save("log-1", world.position, 16)
    return world


def test_what_is_loaded_is_the_world_that_was_folded(tmp_path: Path) -> None:
    world = saved(tmp_path / "w0", ENTRIES)
    file = CheckpointFile(tmp_path / "w0")
    assert file.load() == world
    assert (file.log, file.event_partitions) == ("log-1", 16)


def test_without_a_file_the_world_is_empty(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path / "no" / "such")
    assert (file.load(), file.log, file.event_partitions) == (World(), "", 0)


def test_what_comes_later_is_kept_with_what_was_loaded(tmp_path: Path) -> None:
    saved(tmp_path / "w0", ENTRIES[:2])
    file = CheckpointFile(tmp_path / "w0")
    world = file.load()
    key, value = announcement("m", 3)
    world.apply(9, key, value)
    file.accept(9, value)
    file.save("log-1", 10, 16)
    assert CheckpointFile(tmp_path / "w0").load() == world


@pytest.mark.parametrize("data", [b"", b"x", b"\0" * 32, b"\0" * 100])
def test_a_file_that_is_none_counts_as_none(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "w0").write_bytes(data)
    file = CheckpointFile(tmp_path / "w0")
    assert (file.load(), file.log) == (World(), "")


def test_a_folder_in_its_place_counts_as_none_and_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "w0" / "x").mkdir(parents=True)
    saved(tmp_path / "w0", ENTRIES)
    assert CheckpointFile(tmp_path / "w0").load() == World()


@settings(deadline=None)  # it syncs files
@given(st.data())
def test_any_damage_is_noticed(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "w0"
        world = saved(path, ENTRIES[:2])
        content = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, len(content) - 1))
        if data.draw(st.booleans()):
            content[at] ^= data.draw(st.integers(1, 255))
        else:
            del content[at:]
        path.write_bytes(content)
        assert CheckpointFile(path).load() == World() != world


def test_workers_whose_names_differ_after_a_dot_do_not_share_a_file(tmp_path: Path) -> None:
    saved(tmp_path / "serving.0", ENTRIES[:1])
    saved(tmp_path / "serving.1", ENTRIES[:2])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["serving.0", "serving.1"]
    assert set(CheckpointFile(tmp_path / "serving.0").load().models["m"].versions) == {1}


def test_without_room_the_old_file_stays(tmp_path: Path) -> None:
    world = saved(tmp_path / "w0", ENTRIES[:1])
    (tmp_path / "w0.part").mkdir()  # nothing can be written
    saved(tmp_path / "w0", ENTRIES[:2])
    assert CheckpointFile(tmp_path / "w0").load() == world
