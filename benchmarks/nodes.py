"""A node for a benchmark: `nearline serve` on one core, with the model that benchmarks use."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from serving.settings import Settings

SERVER_CORE, CLIENT_CORE = 0, 1
_READY_S = 60.0
_LOOK_S = 0.05
_PROGRAM = "from serving.cli.main import main; main()"


def pin(*cores: int) -> None:
    """Keep this process, and what it starts from now on, on these cores; where the system cannot, leave it."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core % (os.cpu_count() or 1) for core in cores})


@contextmanager
def node(settings: Settings, cores: Sequence[int] = (SERVER_CORE,), **more: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a node on these cores until the end of the `with`; its log goes into the data directory."""
    values = json.loads(settings.revealed(exclude_unset=True)) | {"log_format": "json", "port": 0, "metrics_port": 0}
    ours = {f"NEARLINE_{name.upper()}": str(value) for name, value in (values | more).items()}
    told = settings.data_dir / "run" / "node.json"
    told.unlink(missing_ok=True)
    with (settings.data_dir / "node.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, "serve"],
            env={**os.environ, **ours},
            stdout=log,
            stderr=log,
            preexec_fn=lambda: pin(*cores),  # noqa: PLW1509 - no threads of ours run yet
        )
    try:
        _wait(told, process)
        yield process
    finally:
        process.terminate()
        process.wait(60)


def move(pid: int, core: int) -> None:
    """Let a process run on one core from now on, all its threads."""
    if hasattr(os, "sched_setaffinity"):
        for thread in psutil.Process(pid).threads():
            os.sched_setaffinity(thread.id, {core % (os.cpu_count() or 1)})


def nearline_pid(settings: Settings) -> int:
    """Of the node's first near-line worker."""
    said: dict[str, Any] = json.loads((settings.data_dir / "run" / "node.json").read_text())
    return int(said["workers"]["nearline-0"])


def _wait(told: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _READY_S
    while not told.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the node did not become ready; see {told.parent.parent / 'node.log'}")
        time.sleep(_LOOK_S)
