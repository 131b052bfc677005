"""What a process leaves behind of what it ran, and what the next one makes of it."""

import platform
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from serving.errors import ModelError
from serving.models.running import Ran, Running, ran_by
from serving.models.verdicts import Verdicts

DIGEST, OTHER = "ab" * 32, "cd" * 32


def test_each_thread_has_marks_of_its_own_which_end_with_the_run(tmp_path: Path) -> None:
    running = Running(tmp_path / "marks")
    marked, ended = threading.Event(), threading.Event()

    def run() -> None:
        with running.mark(Ran(OTHER, 7)):
            marked.set()
            ended.wait()

    thread = threading.Thread(target=run)
    thread.start()
    marked.wait()
    here, there = threading.get_ident(), thread.ident
    assert there is not None
    with running.mark(Ran(DIGEST, 0)):
        assert ran_by(tmp_path / "marks", here) == (DIGEST, 0)
        assert ran_by(tmp_path / "marks", there) == (OTHER, 7)
    assert ran_by(tmp_path / "marks", here) is None
    ended.set()
    thread.join()
    assert ran_by(tmp_path / "marks", there) is None
    assert ran_by(tmp_path / "nothing", here) is None


_DIES = """
import ctypes, os, sys, threading
from pathlib import Path
from serving.models.crashes import Crashes
from serving.models.running import Ran
from serving.models.verdicts import Verdicts

folder, end = Path(sys.argv[1]), sys.argv[2]
crashes = Crashes(folder / "run", "serving-0", Verdicts(folder / "verdicts"))
crashes.begin()
mark = crashes._running.mark

def innocent():
    with mark(Ran("cd" * 32, 0)):
        busy.set()
        threading.Event().wait()

busy = threading.Event()
threading.Thread(target=innocent, daemon=True).start()
busy.wait()
if end == "idle":
    os.abort()
with mark(Ran("ab" * 32, 2)):
    os.kill(os.getpid(), 9) if end == "killed" else ctypes.string_at(0)
"""


def die(folder: Path, how: str) -> int:
    return subprocess.run(
        [sys.executable, "-c", _DIES, str(folder), how], check=False, stdout=subprocess.PIPE
    ).returncode


@pytest.mark.skipif(platform.system() != "Linux", reason="numbers of signals")
def test_only_what_the_crashing_thread_ran_is_quarantined_and_only_after_the_third_crash(tmp_path: Path) -> None:
    verdicts = Verdicts(tmp_path / "verdicts")
    for _ in range(3):
        assert die(tmp_path, "crash") == -11
        assert verdicts.passed(DIGEST, 2) is None
    assert die(tmp_path, "killed") == -9, "which says nothing; but it has found the third crash"

    with pytest.raises(ModelError, match=r"^running it ended .* 3 times .*, last serving-0 \(Segmentation fault\)$"):
        verdicts.passed(DIGEST, 2)
    assert verdicts.passed(DIGEST, 3) is None, "a retrial lifts it"
    for how in ("killed", "idle", "idle", "idle", "killed"):
        die(tmp_path, how)
    assert verdicts.passed(OTHER, 0) is None
    assert [path.name for path in (tmp_path / "verdicts").glob("*.deaths")] == [f"{DIGEST}.deaths"]


def test_crashes_of_another_retrial_or_of_long_ago_do_not_count(tmp_path: Path) -> None:
    verdicts = Verdicts(tmp_path)
    (tmp_path / f"{DIGEST}.deaths").write_text("1 1000000000\n1 1000000001\nnonsense\n")
    assert [verdicts.died(DIGEST, epoch, "w") for epoch in (1, 1, 2, 2, 1)] == [False, False, False, False, True]
