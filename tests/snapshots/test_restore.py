"""Restoring: into nothing, never over something; whole, of these logs, or the one before."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from serving.errors import BusUnavailableError, StoreUnavailableError
from serving.snapshots.manifest import MANIFEST_FILE, STORE_FILE
from serving.snapshots.restore import is_called_for, restore
from serving.snapshots.take import take
from tests.snapshots.stage import Stage
from tests.store.stores import Store, end, hear


@pytest.fixture
def two(stage: Stage) -> Stage:
    """A node that took snapshots at 1 and at 2, and lost its store."""
    for offset in (1, 2):
        stage.apply(offset)
        take(stage.settings)
    return stage


def test_a_node_without_a_store_gets_the_newest_one_whole(two: Stage) -> None:
    before = two.contents()
    two.lose_store()
    restored = restore(two.settings)
    assert restored is not None
    assert (restored.manifest, restored.passed_over) == (two.listed()[0], 0)
    assert two.contents() == before
    assert not (two.settings.data_dir / "snapshots" / "restoring").exists()


def test_a_store_that_was_written_to_stays(two: Stage) -> None:
    two.apply(3)
    before = two.contents()
    assert restore(two.settings) is None
    assert two.contents() == before


def test_a_store_that_nothing_was_written_to_counts_as_none(two: Stage) -> None:
    before = two.contents()
    two.lose_store()
    two.writer().close()
    assert restore(two.settings)
    assert two.contents() == before


def test_a_store_that_somebody_has_open_is_not_replaced(two: Stage) -> None:
    two.lose_store()
    child = Store("lmdb", two.settings.data_dir, "").child("reading")
    assert hear(child) == "reading"
    with pytest.raises(StoreUnavailableError, match="nobody has open"):
        restore(two.settings)
    end(child)
    assert restore(two.settings)


def test_a_store_that_is_not_to_be_believed_is_replaced(two: Stage) -> None:
    before = two.contents()
    (two.store / "boot-id").write_text("before the loss of power")
    assert is_called_for(two.settings)
    assert restore(two.settings, boot="after it")
    assert (two.store / "data.mdb.distrusted").exists()
    assert two.contents() == before


def _flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def _shorten(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("damage", "said"),
    [(_flip, "expected SHA-256"), (_shorten, r"bytes as announced"), (Path.unlink, "found nothing")],
)
def test_a_damaged_one_is_passed_over_for_the_one_before_loudly(two: Stage, damage, said: str) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - a function of a path
    damage(two.file_of(two.listed()[0], STORE_FILE))
    two.lose_store()
    with capture_logs() as logs:
        restored = restore(two.settings)
    assert restored is not None
    assert (restored.manifest, restored.passed_over) == (two.listed()[1], 1)
    ((level, reason),) = [(line["log_level"], line["reason"]) for line in logs if line["event"] == "snapshot.unusable"]
    assert level == "error"
    assert said in reason
    assert two.contents()[0].spaces == {b"s": {b"ann": b"1"}}


def test_one_whose_manifest_cannot_be_read_is_passed_over_loudly(two: Stage) -> None:
    newest, before = two.listed()
    two.file_of(newest, MANIFEST_FILE).write_text('{"format": 2}')
    two.lose_store()
    with capture_logs() as logs:
        restored = restore(two.settings)
    assert restored is not None
    assert restored.manifest == before
    assert {line["event"] for line in logs if line["log_level"] == "error"} == {"snapshot.unreadable"}


def test_when_none_is_whole_the_store_is_as_if_there_had_been_none(two: Stage) -> None:
    for snapshot in two.listed():
        _flip(two.file_of(snapshot, STORE_FILE))
    two.lose_store()
    assert restore(two.settings) is None
    assert two.contents() == {}


def test_one_of_other_logs_is_not_used(two: Stage) -> None:
    two.lose_store()
    two.lose_bus()
    with capture_logs() as logs:
        assert restore(two.settings) is None
    assert all("there is no topic t.events" in line["reason"] for line in logs)
    two.make_topics()
    with capture_logs() as logs:
        assert restore(two.settings) is None
    assert len(logs) == 2
    assert all("t.events was created again since" in line["reason"] for line in logs)
    assert two.contents() == {}


def test_it_waits_for_a_bus_that_is_away(two: Stage) -> None:
    two.lose_store()
    away = two.having(bus="kafka://127.0.0.1:1")
    with pytest.raises(BusUnavailableError):
        restore(away.settings)
    assert not (two.store / "data.mdb").exists()


def test_it_is_called_for_only_where_it_may_have_something_to_do(stage: Stage) -> None:
    assert not is_called_for(stage.settings), "no snapshot"
    stage.apply(1)
    take(stage.settings)
    stage.lose_store()
    assert is_called_for(stage.settings)
    assert not is_called_for(stage.having(restore=False).settings)
    assert not is_called_for(stage.having(store="redis://127.0.0.1:1/0").settings)
    stage.store.mkdir()
    (stage.store / "data.mdb").write_bytes(bytes(2 << 20))
    assert not is_called_for(stage.settings), "a store that was written to"
