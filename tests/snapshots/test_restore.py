"""Restoring: into nothing, never over something; whole, of these logs, or the one before."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from serving.errors import BusUnavailableError, StoreUnavailableError
from serving.settings import Settings
from serving.snapshots.manifest import MANIFEST_FILE, STORE_FILE
from serving.snapshots.need import is_called_for
from serving.snapshots.restore import restore
from serving.snapshots.take import take
from tests.end_to_end.waiting import wait_until
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


_DIE_WHILE_CHECKING = """
import os, signal, sys
import serving.snapshots.restore as restoring
from serving.settings import Settings
restoring.sha256_of = lambda path: os.kill(os.getpid(), signal.SIGKILL)
restoring.restore(Settings.model_validate_json(sys.argv[1]))
"""


def test_one_killed_while_restoring_leaves_no_store_and_the_next_restores(two: Stage) -> None:
    before = two.contents()
    two.lose_store()
    died = subprocess.run([sys.executable, "-c", _DIE_WHILE_CHECKING, two.settings.model_dump_json()], check=False)
    assert died.returncode == -signal.SIGKILL
    assert not (two.store / "data.mdb").exists()
    assert restore(two.settings)
    assert two.contents() == before


def test_it_waits_for_a_bus_that_is_away(two: Stage) -> None:
    two.lose_store()
    away = two.having(bus="kafka://127.0.0.1:1")
    with pytest.raises(BusUnavailableError):
        restore(away.settings)
    assert not (two.store / "data.mdb").exists()


def _stand_still(stage: Stage) -> None:
    os.utime(stage.store / "data.mdb", (0, 0))


@pytest.fixture
def away(tmp_path: Path) -> Stage:
    """A node that stood still at 1, while its topic came to keep nothing that old."""
    stage = Stage(Settings(data_dir=tmp_path / "away", topic_prefix="t.", event_partitions=2, event_retention_s=1))
    stage.apply(1)
    shutil.copytree(stage.store, stage.settings.data_dir / "then")
    stage.apply(2)
    return stage


def _come_back(stage: Stage) -> None:
    stage.lose_store()
    (stage.settings.data_dir / "then").rename(stage.store)
    _stand_still(stage)

    def is_gone() -> bool:
        stage.append(0, 1)  # which removes what is too old
        return stage.first_kept(0) > 1

    wait_until(is_gone, "the next event is gone")


def test_a_store_that_missed_what_is_gone_is_replaced_by_one_that_has_it(away: Stage) -> None:
    taken = take(away.settings)
    further = away.contents()
    _come_back(away)
    assert is_called_for(away.settings)
    with capture_logs() as logs:
        restored = restore(away.settings)
    assert restored is not None
    assert restored.manifest == taken
    assert next(line for line in logs if line["event"] == "store.behind")["missed"] == ["t.events/0"]
    assert away.contents() == further
    assert (away.store / "data.mdb.behind").exists()


def test_a_store_that_missed_what_is_gone_is_kept_when_no_snapshot_is_further(away: Stage) -> None:
    _come_back(away)
    before = away.contents()
    _stand_still(away)
    with capture_logs() as logs:
        assert restore(away.settings) is None
    assert [line["event"] for line in logs] == ["store.behind"]
    take(away.settings)
    away.apply(2, [1])
    _stand_still(away)
    with capture_logs() as logs:
        assert restore(away.settings) is None
    assert "shard 1 of the store is further: at 2, not at 1" in logs[-1]["reason"]
    assert away.contents()[0] == before[0]


def test_a_store_that_missed_nothing_is_kept_however_old(two: Stage) -> None:
    _stand_still(two)
    two.append(0, 5)
    before = two.contents()
    _stand_still(two)
    assert is_called_for(two.settings)
    assert restore(two.settings) is None
    assert two.contents() == before


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
