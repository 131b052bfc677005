"""Taking snapshots: consistent, whole or not there, and only the newest kept."""

import signal
import subprocess
import sys
import uuid
from pathlib import Path

import fsspec
import pytest

from serving.artifacts.named import NamedFolders
from serving.errors import ArtifactUnavailableError, ConflictError, NotFoundError, UserError
from serving.installation import installation_id
from serving.snapshots.choose import now_ms
from serving.snapshots.listing import snapshot_folders
from serving.snapshots.manifest import STORE_FILE
from serving.snapshots.restore import restore
from serving.snapshots.take import take, taken_within
from tests.snapshots.stage import Stage
from tests.store.stores import Store, end, hear
from tests.store.writing import KEYS

ROOT = Path(__file__).parents[2]


def test_one_taken_while_a_writer_writes_is_of_one_moment(stage: Stage) -> None:
    child = Store("lmdb", stage.settings.data_dir, "").child("forever")
    hear(child)
    for _ in range(5):
        before = int(hear(child))
        taken = take(stage.settings)
        ((_, number),) = taken.shards[0]
        assert number >= before
    end(child)
    stage.lose_store()
    assert restore(stage.settings)
    writer = stage.writer()
    assert set(writer.read(0, b"s", KEYS)) == {b"%d" % number}
    assert set(writer.ranks(0, b"r", KEYS)) == {number}
    writer.close()


def test_the_manifest_says_whose_it_is_and_how_far(stage: Stage) -> None:
    events, commands = stage.make_topics()
    stage.apply(1)
    steps: list[str] = []
    taken = take(stage.settings, steps.append)
    assert stage.listed() == [taken]
    assert (taken.node, taken.events.identity, taken.commands.identity) == ("one", events, commands)
    assert taken.shards == dict.fromkeys(range(2), ((events, 1), (commands, 0)))
    assert stage.file_of(taken, STORE_FILE).stat().st_size == taken.size
    assert [step.split()[0] for step in steps] == ["copying", "hashing", "storing", "removing"]
    assert list((stage.settings.data_dir / "snapshots").iterdir()) == [stage.settings.data_dir / "snapshots/take.lock"]


def test_only_the_newest_are_kept(stage: Stage) -> None:
    two = stage.having(snapshots_kept=2)
    taken = []
    for offset in range(1, 5):
        stage.apply(offset)
        taken.append(take(two.settings))
    assert stage.listed() == [taken[3], taken[2]]
    assert snapshot_folders(stage.settings).names() == [taken[2].name, taken[3].name]


def test_older_ones_stay_until_the_new_one_is_whole(stage: Stage) -> None:
    one = stage.having(snapshots_kept=1)
    stage.apply(1)
    first = take(one.settings)
    folder = stage.file_of(first, STORE_FILE).parents[1]
    folder.rename(folder.with_name("elsewhere"))
    folder.write_text("in the way")
    with pytest.raises(ArtifactUnavailableError):
        take(one.settings)
    folder.unlink()
    folder.with_name("elsewhere").rename(folder)
    assert stage.listed() == [first]


_DIE_WHILE_STORING = """
import os, signal, sys
import serving.artifacts.store
from serving.settings import Settings
from serving.snapshots.take import take
def die(path):
    os.kill(os.getpid(), signal.SIGKILL)
serving.artifacts.store.sync = die
take(Settings.model_validate_json(sys.argv[1]))
"""


def test_one_killed_while_storing_is_not_listed_and_is_swept_by_the_next(stage: Stage) -> None:
    stage.apply(1)
    died = subprocess.run([sys.executable, "-c", _DIE_WHILE_STORING, stage.settings.model_dump_json()], check=False)
    assert died.returncode == -signal.SIGKILL
    (left,) = snapshot_folders(stage.settings).names()
    assert ".part-" in left
    assert stage.listed() == []
    taken = take(stage.settings)
    assert snapshot_folders(stage.settings).names() == [taken.name]


@pytest.fixture
def on_objects(stage: Stage) -> Stage:
    """An artifact store without folders and renames."""
    return stage.having(artifacts=f"memory://{uuid.uuid4().hex}")


def test_in_an_object_store_one_without_its_manifest_is_not_there(on_objects: Stage, tmp_path: Path) -> None:
    on_objects.apply(1)
    folders, mine = snapshot_folders(on_objects.settings), installation_id(on_objects.settings.data_dir)[:8]
    file = tmp_path / "some"
    file.write_bytes(b"bytes")
    later_ms = now_ms() + 3_600_000
    names = {
        "mine": f"{later_ms}-one-{mine}",
        "others": f"{later_ms}-two-12345678",
        "old": "1000000000000-b-cd345678",
    }
    for name in names.values():
        folders.put(name, {STORE_FILE: file})
    assert on_objects.listed() == []

    taken = take(on_objects.settings)

    assert on_objects.listed() == [taken]
    assert folders.names() == [taken.name, names["others"]], "it may be under way"
    on_objects.lose_store()
    assert restore(on_objects.settings)
    assert on_objects.contents()[0].spaces == {b"s": {b"ann": b"1"}}
    fsspec.filesystem("memory").store.clear()


def test_named_folders_are_listed_read_and_removed(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"content")
    for root in ((tmp_path / "a b%ü#?").as_uri(), f"memory://{uuid.uuid4().hex}"):
        folders = NamedFolders(root, "x/y.")
        assert folders.names() == []
        folders.put("b", {"f": file, "last": file})
        folders.put("a", {"f": file})
        assert folders.names() == ["a", "b"]
        assert (folders.read("b", "f", 3), folders.read("a", "last", 3)) == (b"con", None)
        folders.remove("b", "last")
        folders.remove("b", "last")
        assert folders.names() == ["a"]
    fsspec.filesystem("memory").store.clear()


def test_there_has_to_be_a_store_of_the_nodes_own(stage: Stage) -> None:
    with pytest.raises(NotFoundError, match="run a node first"):
        take(stage.settings)
    assert not stage.store.exists()
    stage.writer().close()
    with pytest.raises(NotFoundError, match="events applied"):
        take(stage.settings)
    with pytest.raises(UserError, match="needs no snapshots"):
        take(stage.having(store="redis://127.0.0.1:1/0").settings)
    assert stage.listed() == []


def test_one_at_a_time(stage: Stage) -> None:
    stage.apply(1)

    def meanwhile(_step: str) -> None:
        with pytest.raises(ConflictError, match="under way"):
            take(stage.settings)

    assert [take(stage.settings, meanwhile)] == stage.listed()


def test_a_node_sees_that_another_has_just_taken_one(stage: Stage) -> None:
    stage.apply(1)
    assert taken_within(stage.settings, 3600) is None
    taken = take(stage.having(node="two").settings)
    assert taken_within(stage.settings, 3600) == taken
    assert taken_within(stage.settings, -1) is None
    stage.lose_bus()
    stage.make_topics()
    assert taken_within(stage.settings, 3600) is None, "it is of another log"
