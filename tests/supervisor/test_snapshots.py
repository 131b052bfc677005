"""Snapshots as the supervisor runs them: in processes that end when it wants, or when it does."""

import asyncio
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from serving.settings import Settings
from serving.snapshots.take import take
from serving.supervisor.snapshots import Snapshots
from tests.end_to_end.waiting import wait_until
from tests.snapshots.stage import Stage


def _children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if _restores_or_takes(child)]


def _restores_or_takes(child: psutil.Process) -> bool:
    try:
        return "serving.snapshots.child" in child.cmdline()
    except psutil.NoSuchProcess:  # it has just ended
        return False


def _waiting_node(tmp_path: Path) -> Settings:
    """A node that lost its store and whose bus is away: it has a snapshot, and cannot know whether it fits."""
    stage = Stage(Settings(data_dir=tmp_path, topic_prefix="t.", event_partitions=2))
    stage.apply(1)
    take(stage.settings)
    stage.lose_store()
    return stage.having(bus="kafka://127.0.0.1:1").settings


def test_a_node_that_is_stopped_while_it_restores_stops_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.supervisor.snapshots._PATIENCE_S", 3600.0)
    settings = _waiting_node(tmp_path)

    async def start_and_stop() -> None:
        stop = asyncio.Event()
        restoring = asyncio.create_task(Snapshots(settings).restore(stop))
        await asyncio.to_thread(wait_until, _children, "a process that restores")
        stop.set()
        async with asyncio.timeout(240):
            await restoring

    asyncio.run(start_and_stop())
    assert _children() == []


def test_a_process_that_restores_ends_with_its_supervisor(tmp_path: Path) -> None:
    settings = _waiting_node(tmp_path)
    child = subprocess.Popen(
        [sys.executable, "-m", "serving.snapshots.child", "restore", "3600"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    assert child.stderr is not None
    child.stdin.write(f"{settings.model_dump_json()}\n")
    child.stdin.flush()
    assert "snapshot.waiting" in child.stderr.readline()
    child.stdin.close()
    assert child.wait(240) == 1
    child.stderr.close()


def test_without_a_need_nothing_is_started(tmp_path: Path) -> None:
    async def start() -> None:
        settings = Settings(data_dir=tmp_path)
        await Snapshots(settings).restore(asyncio.Event())
        await asyncio.wait_for(Snapshots(settings).run(), 60)
        shared = settings.model_copy(update={"store": "redis://127.0.0.1:1/0", "snapshot_every_s": 0.001})
        await asyncio.wait_for(Snapshots(shared).run(), 60)

    asyncio.run(start())
    assert _children() == []
