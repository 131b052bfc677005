"""Near-line workers that meet their fate at a chosen step: the test's side of deadly.py."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from serving.settings import Settings
from tests.end_to_end.waiting import wait_until

_ROOT = Path(__file__).parents[3]


class Fated:
    """Workers of one installation, one at a time. Those that are left at the end of the `with` are killed."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "deadly.log"
        self._folder = folder
        self._pids: list[int] = []

    def __enter__(self) -> Self:
        self._forks = subprocess.Popen(
            [sys.executable, "-m", "tests.end_to_end.nearline.deadly", str(self._folder)],
            cwd=_ROOT,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._forks.kill()
        self._forks.communicate()
        for pid in self._pids:
            if psutil.pid_exists(pid):  # the kernel gives it to nobody else so soon
                os.kill(pid, signal.SIGKILL)
        if kind is not None and self.log.exists():
            sys.stderr.write(f"--- log of the fated workers\n{self.log.read_text()[-6000:]}\n")

    def dies_at(self, settings: Settings, step: str, occurrence: int, group: str) -> None:
        """Let a worker, alone in its group, kill itself at a step."""
        self._begin(settings, step, occurrence, group, signal.SIGKILL)
        code = int(self._hear())
        self._pids.pop()
        assert code == -signal.SIGKILL, f"{step}: ended with {code}, and not by its own hand: {self.log}"

    def stops_at(self, settings: Settings, step: str, occurrence: int, group: str = "") -> int:
        """Let a worker stop itself at a step; return its process id."""
        pid = self._begin(settings, step, occurrence, group, signal.SIGSTOP)
        wait_until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, f"the worker stops at {step}")
        return pid

    def said(self, event: str) -> list[dict[str, Any]]:
        """Lines of their log with that event."""
        whole = self.log.read_text().rpartition("\n")[0]
        lines = [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def _begin(self, settings: Settings, step: str, occurrence: int, group: str, number: int) -> int:
        assert self._forks.stdin is not None
        said = {
            "settings": settings.model_dump_json(),
            "step": step,
            "occurrence": occurrence,
            "group": group,
            "signal": number,
        }
        self._forks.stdin.write(json.dumps(said) + "\n")
        self._forks.stdin.flush()
        pid = int(self._hear())
        self._pids.append(pid)
        return pid

    def _hear(self) -> str:
        assert self._forks.stdout is not None
        return self._forks.stdout.readline().strip()
