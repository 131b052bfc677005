"""Where the demo plays: a node of its own, as a process, with topics and folders that touch nothing else."""

import json
import os
import subprocess
import sys
import time
import urllib.request
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from prometheus_client.parser import text_string_to_metric_families

from serving.errors import NearlineError
from serving.settings import Settings

_READY_S = 60.0
_STOP_S = 30.0
_LOOK_S = 0.02
_SERVE = "from serving.cli.main import main; main()"


class Stage:
    """A node in a folder of its own; stopped at the end of the `with`."""

    def __init__(self, folder: Path, bus: str, store: str) -> None:
        self.settings = Settings(
            data_dir=folder / "data",
            bus=bus,
            store=store,
            artifacts=(folder / "artifacts").as_uri(),
            topic_prefix=f"nearline-demo-{uuid.uuid4().hex[:8]}.",
            node="demo",
            port=0,
            metrics_port=0,
            log_format="json",
        )
        self.log = folder / "node.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._info: dict[str, Any] = {}

    def __enter__(self) -> Self:
        values = json.loads(self.settings.revealed())
        texts = {
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in values.items()
            if value is not None
        }
        environment = {**os.environ, **{f"NEARLINE_{name.upper()}": text for name, text in texts.items()}}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _SERVE, "serve"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            self._info = self._wait_until_ready(self._process)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def address(self) -> str:
        """host:port of the gRPC server."""
        return str(self._info["address"])

    @property
    def workers(self) -> list[str]:
        """Names of the node's processes."""
        return list(self._info["workers"])

    def counted(self, name: str) -> float:
        """Sum of a counter or gauge over the node's processes, as Prometheus would read it."""
        with urllib.request.urlopen(self._info["metrics"], timeout=10) as response:  # noqa: S310 - our own node, http
            text = response.read().decode()
        samples = (s for family in text_string_to_metric_families(text) for s in family.samples)
        return sum(sample.value for sample in samples if sample.name == name)

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> dict[str, Any]:
        told = self.settings.data_dir / "run" / "node.json"
        deadline = time.monotonic() + _READY_S
        while not told.exists():
            if process.poll() is not None:
                raise NearlineError(f"the demo's node ended with exit code {process.returncode}: {self._last_words()}")
            if time.monotonic() > deadline:
                raise NearlineError(f"the demo's node was not ready within {_READY_S:g} s; its log: {self.log}")
            time.sleep(_LOOK_S)
        info: dict[str, Any] = json.loads(told.read_text())
        return info

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1][:500] if lines else "it said nothing"
