"""What a trial's process may not do, tried in the very process: a real fork of the helper's kind, really confined."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from serving.bundles.confinement.confine import confine
from serving.bundles.trial_fork import run_forked
from serving.bundles.trial_order import Ended

MEMORY = 4 << 30


def limit() -> int:
    """Of address space: what this process has mapped already counts, and is nothing of what a model takes."""
    return int(psutil.Process().memory_info().vms) + MEMORY


@pytest.fixture
def wanted() -> Iterator[int]:
    """The writing end of a pipe that somebody reads."""
    reading, writing = os.pipe()
    yield writing
    os.close(reading)
    os.close(writing)


def confined(folder: Path, act: Callable[[], object], wanted: int, *, loose: bool = False) -> Ended:
    """Do it in a fork; `loose`: without being confined."""

    most = limit()

    def work() -> None:
        if not loose:
            assert confine(folder, most, 30) == []
        try:
            said = repr(act())
        except OSError as error:
            said = type(error).__name__
        os.write(1, said.encode())

    return run_forked(work, 120, wanted)


def write_a_file(folder: Path) -> object:
    return (folder / "new").write_text("x")


def empty_a_file(folder: Path) -> object:
    os.truncate(folder / "there", 0)
    return None


def remove_a_file(folder: Path) -> object:
    (folder / "there").unlink()
    return None


def read_elsewhere(_folder: Path) -> object:
    return Path("/etc/passwd").read_text()[:4]


def open_a_tcp_socket(_folder: Path) -> object:
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM).family


def open_a_udp_socket(_folder: Path) -> object:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM).family


def open_a_unix_socket(_folder: Path) -> object:
    return socket.socket(socket.AF_UNIX).family


def start_a_process(_folder: Path) -> object:
    return os.fork() or os._exit(0)


def become_a_program(_folder: Path) -> object:
    return os.execv("/bin/true", ["true"])  # noqa: S606 - the very thing


def signal_its_parent(_folder: Path) -> object:
    os.kill(os.getppid(), 0)
    return None


def wait_for_ever() -> None:
    threading.Event().wait()


FORBIDDEN = [
    write_a_file, empty_a_file, remove_a_file, read_elsewhere, open_a_tcp_socket, open_a_udp_socket, open_a_unix_socket,
    start_a_process, become_a_program, signal_its_parent,
]  # fmt: skip


@pytest.mark.parametrize("act", FORBIDDEN)
def test_a_model_has_no_right_to(act: Callable[[Path], object], tmp_path: Path, wanted: int) -> None:
    (tmp_path / "there").write_text("content")
    ended = confined(tmp_path, lambda: act(tmp_path), wanted)
    assert (ended.code, ended.out) == (0, "PermissionError"), ended.err
    loose = confined(tmp_path, lambda: act(tmp_path), wanted, loose=True)
    assert "Error" not in loose.out, "and it is the confinement that takes it away"


def test_a_file_that_is_open_cannot_grow(tmp_path: Path, wanted: int) -> None:
    most = limit()

    def work() -> None:
        file = os.open(tmp_path / "open", os.O_CREAT | os.O_WRONLY)
        confine(tmp_path, most, 30)
        try:
            os.write(file, b"x")
        except OSError as error:
            os.write(1, str(error.strerror).encode())

    assert run_forked(work, 60, wanted).out == "File too large"


def test_a_model_may_read_its_bundle_and_use_threads(tmp_path: Path, wanted: int) -> None:
    (tmp_path / "there").write_text("content")

    def act() -> object:
        found: list[str] = []
        thread = threading.Thread(target=lambda: found.append((tmp_path / "there").read_text()))
        thread.start()
        thread.join()
        return found

    assert confined(tmp_path, act, wanted).out == "['content']"


def test_memory_beyond_the_limit_is_refused(tmp_path: Path, wanted: int) -> None:
    ended = confined(tmp_path, lambda: len(bytearray(2 * MEMORY)), wanted)
    assert (ended.code, "MemoryError" in ended.err) == (1, True)


def test_a_crash_ends_the_fork_alone(tmp_path: Path, wanted: int) -> None:
    assert confined(tmp_path, os.abort, wanted).code == -6


def test_work_that_does_not_end_is_ended_when_its_time_is_over(wanted: int) -> None:
    assert run_forked(wait_for_ever, 0.5, wanted).code is None


def test_work_that_nobody_wants_any_more_is_ended() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        assert run_forked(wait_for_ever, 600, writing).code is None
    finally:
        os.close(writing)
