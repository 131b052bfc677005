"""One at a time over all processes and threads, whatever happens to who holds the lock."""

import multiprocessing
import os
import signal
import threading
from multiprocessing.synchronize import Event
from pathlib import Path

from filelock import FileLock, Timeout

from serving.artifacts.alone import alone
from tests.builders.waiting import DEADLINE_S


def _hold(path: Path, held: Event, until: Event) -> None:
    with alone(path):
        held.set()
        until.wait(DEADLINE_S)


def test_threads_are_in_it_one_after_the_other(tmp_path: Path) -> None:
    inside, most = list[int](), list[int]()

    def work() -> None:
        for _ in range(50):
            with alone(tmp_path / "lock"):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 200


def test_who_waits_gets_it_when_the_holder_dies(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    held, never = spawn.Event(), spawn.Event()
    holder = spawn.Process(target=_hold, args=(tmp_path / "lock", held, never))
    holder.start()
    assert held.wait(DEADLINE_S)
    got = threading.Event()
    waiting = threading.Thread(target=_hold, args=(tmp_path / "lock", got, got))
    waiting.start()
    assert not got.is_set()
    assert holder.pid
    os.kill(holder.pid, signal.SIGKILL)
    assert got.wait(DEADLINE_S)
    waiting.join()
    holder.join()


def test_who_will_not_wait_is_told_so(tmp_path: Path) -> None:
    """As whoever makes room on the disk does."""
    other = FileLock(tmp_path / "lock", timeout=0)
    with alone(tmp_path / "lock"):
        try:
            other.acquire()
        except Timeout:
            refused = True
        else:
            refused = False
    assert refused
    with other:
        assert other.is_locked
