"""A peer from start to end, in this environment instead of one of its own."""

import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks.peers import environments, grpcio
from benchmarks.peers.answers import Expected
from benchmarks.peers.measure import Durations, measure, model_file
from benchmarks.peers.peer import Peer, PeerError
from benchmarks.peers.processes import server
from tests.end_to_end.waiting import wait_until

_LEAVES_A_CHILD = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
open("child.txt", "w").write(str(child.pid))
"""


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "python", lambda _key: Path(sys.executable))


def peer(**options: str) -> Peer:
    return dataclasses.replace(grpcio.PEER, configurations={"asyncio": options}, install=lambda: None)


def serves(process: psutil.Process) -> bool:
    try:
        return "serve_grpcio.py" in " ".join(process.cmdline())
    except psutil.Error:  # it has just ended
        return False


def alive(process: psutil.Process) -> bool:
    """Nobody may look after what has ended, where a test runs in a container."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_the_peer_of_grpcio_is_started_checked_loaded_and_ended() -> None:
    before = set(psutil.Process().children(recursive=True))
    with model_file() as model:
        (row,) = measure(peer(loop="asyncio"), model, Expected(model), Durations(2.0, 0.2, streams=(1, 2)))
    assert row.reason == ""
    assert list(row.loads) == [1, 2]
    for load in row.loads.values():
        assert load.per_s > 0
        assert load.cpu_us is not None
        assert load.cpu_us > 0
        assert 0 < (load.p50_ms or 0) <= (load.p99_ms or 0)
    assert row.versions.keys() == {"python", "grpcio", "onnxruntime"}
    left = [child for child in psutil.Process().children(recursive=True) if child not in before]
    assert not [child for child in left if serves(child)]


def test_a_peer_that_serves_another_model_is_reported_as_wrong() -> None:
    with model_file() as model, model_file(seed=1) as other:
        (row,) = measure(peer(loop="asyncio"), other, Expected(model), Durations(1.0, 0.2))
    assert row.reason.startswith("wrong answer: items")
    assert not row.loads


def test_a_server_that_ends_by_itself_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "python", lambda _key: Path("/bin/false"))
    found = dataclasses.replace(peer(loop="asyncio"), versions=dict)
    with model_file() as model:
        (row,) = measure(found, model, Expected(model), Durations(1.0, 0.2))
    assert row.reason == "the server ended before it answered"


def test_a_peer_that_cannot_be_installed_has_a_row_that_says_why(tmp_path: Path) -> None:
    def refused() -> None:
        raise PeerError("cannot be installed here: error: no wheel")

    found = dataclasses.replace(peer(loop="asyncio"), install=refused)
    (row,) = measure(found, tmp_path, None, Durations(0.4, 0.1))  # type: ignore[arg-type]
    assert row.reason == "cannot be installed here: error: no wheel"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody adopts orphans")
def test_processes_that_a_server_left_behind_are_ended_too(tmp_path: Path) -> None:
    told = tmp_path / "child.txt"
    with server([sys.executable, "-c", _LEAVES_A_CHILD], 0, tmp_path, {}):
        child = wait_until(lambda: told.read_text() if told.exists() else None, "the child")
        assert psutil.pid_exists(int(child))
    assert not psutil.pid_exists(int(child))


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_nothing_is_left_of_a_benchmark_that_is_stopped(told: signal.Signals, tmp_path: Path) -> None:
    program = (
        "import runpy, sys; from pathlib import Path; from benchmarks.peers import environments, grpcio\n"
        "environments.python = lambda key: Path(sys.executable)\n"
        "environments.install = lambda key: None\n"
        "object.__setattr__(grpcio.PEER, 'install', lambda: None)\n"
        "sys.argv = ['peers', '--only', 'grpcio', '--seconds', '2', '--warm', '600']\n"
        "runpy.run_module('benchmarks.peers', run_name='__main__')"
    )
    with (tmp_path / "log").open("wb") as log:
        running = subprocess.Popen(
            [sys.executable, "-c", program],
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
    try:
        benchmark = psutil.Process(running.pid)

        def serving() -> list[psutil.Process]:
            found = benchmark.children(recursive=True)
            return found if any(serves(one) for one in found) else []

        started = wait_until(serving, "the server")
        running.send_signal(told)
        running.wait(240)
    finally:
        running.kill()
        running.wait()
    assert running.returncode in {130, 143}
    wait_until(lambda: not any(alive(process) for process in started), "all of them ended")
