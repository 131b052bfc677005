"""An installation as its users have it: the `nearline` program, nodes as processes, a bus and a store."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.request import urlopen

from protos.status_view import StatusView
from serving.bus.connect import connect_bus
from serving.bus.port import Bus
from serving.bus.read_status import read_status
from serving.cli.instances import instance_json
from serving.cli.session import open_bus
from serving.settings import Settings
from tests.end_to_end.waiting import wait_until

PROGRAM = Path(sys.executable).with_name("nearline")


@dataclass(frozen=True)
class Installation:
    """`overrides`: the settings that make it this one; `folder` holds everything that it writes."""

    folder: Path
    overrides: Mapping[str, str] = field(default_factory=dict)

    def settings(self, node: str = "one", **more: Any) -> Settings:
        """What its processes see; each node has a data directory of its own where the bus allows it."""
        values = {**self._values(node), **more}
        read = {name: json.loads(values[name]) for name in ("labels", "event_mapping", "rpc_limits") if name in values}
        return Settings.model_validate({"labels": {}, **values, **read})

    def having(self, **overrides: str) -> "Installation":
        """The same one with other settings."""
        return replace(self, overrides={**self.overrides, **overrides})

    def environment(self, node: str = "one") -> dict[str, str]:
        """Variables for its processes."""
        ours = {f"NEARLINE_{name.upper()}": str(value) for name, value in self._values(node).items()}
        return {**os.environ, **ours, "NEARLINE_HOST": "127.0.0.1", "COLUMNS": "200"}

    def _values(self, node: str) -> dict[str, Any]:
        shared = self.overrides.get("bus", "embedded") == "embedded"
        return {
            "data_dir": self.folder / ("data" if shared else f"data-{node}"),
            "artifacts": (self.folder / "artifacts").as_uri(),
            "node": node,
            "port": 0,
            "metrics_port": 0,
            "log_format": "json",
            **self.overrides,
        }

    def bus(self) -> Bus:
        """A connection of the test's own."""
        bus = self.bus_without_topics()
        bus.ensure_topics(self.settings().topics.all())
        return bus

    def bus_without_topics(self) -> Bus:
        """A connection, before nearline has created anything."""
        settings = self.settings()
        return connect_bus(settings)

    def run(self, *arguments: str, timeout_s: float = 280.0) -> subprocess.CompletedProcess[str]:
        """Run the program to its end."""
        return subprocess.run(
            [PROGRAM, *arguments],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def ask(self, *arguments: str) -> Any:
        """Run the program with --json; it has to end well."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def instances(self, model: str, version: int) -> dict[str, dict[str, Any]]:
        """What each worker's instance of a version is, by `node/worker`."""
        return {
            f"{status.node}/{status.worker}": instance_json(status)
            for status in self.status().current()
            if (status.model, status.version) == (model, version)
        }

    def pids(self) -> dict[str, int]:
        """Process ids of the workers that have not left, by name; of one that was killed until another is in its place.

        Not only of those that are live: on a busy machine a worker may say nothing for a while.
        """
        return {presence.worker: presence.pid for presence in self.status().presences()}

    def status(self) -> StatusView:
        """What `nearline status` and `nearline nodes` read, without a process for each look."""
        with open_bus(self.settings()) as bus:
            return read_status(bus, self.settings().topics.status.name)

    def wait_for_state(self, model: str, version: int, states: set[str], workers: int) -> dict[str, dict[str, Any]]:
        """Wait until so many workers' instances of a version are in one of the states."""

        def look() -> dict[str, dict[str, Any]] | None:
            found = self.instances(model, version)
            return found if sum(i["state"] in states for i in found.values()) == workers else None

        return wait_until(look, f"{workers} instances of {model}/{version} in {sorted(states)}")


class Node(AbstractContextManager["Node"]):
    """`nearline serve` as a process: two serving workers and a near-line worker, unless told otherwise."""

    def __init__(self, installation: Installation, name: str = "one", *options: str) -> None:
        self.name = name
        self.workers = 3
        self._installation = installation
        self._options = options
        self._data = installation.settings(name).data_dir
        self.log = installation.folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self.stop()
        if kind is not None:
            sys.stderr.write(f"--- log of node {self.name}\n{self.log.read_text()[-8000:]}\n")

    def start(self) -> None:
        """Start, and wait until every worker is ready."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [PROGRAM, "serve", *self._options],
                env=self._installation.environment(self.name),
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )
        wait_until(self._started, f"node {self.name} ready (log: {self.log})")

    def _started(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()[-4000:]
        try:
            return bool(self.info["pid"] == self.pid)
        except FileNotFoundError:  # not yet, or between that of a node that was killed here and our own
            return False

    @property
    def info(self) -> dict[str, Any]:
        """What the node says of itself."""
        said: dict[str, Any] = json.loads((self._data / "run" / "node.json").read_text())
        return said

    @property
    def address(self) -> str:
        """host:port of its gRPC server."""
        return str(self.info["address"])

    @property
    def pid(self) -> int:
        """Of the supervisor."""
        assert self._process is not None
        return self._process.pid

    def metric(self, name: str) -> float:
        """Sum of a metric over its labels."""
        with urlopen(self.info["metrics"], timeout=60) as answer:  # noqa: S310 - the node's own
            lines = answer.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))

    def lines(self) -> list[dict[str, Any]]:
        """Its log, whole lines of it."""
        whole = self.log.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]

    def events(self, name: str) -> list[dict[str, Any]]:
        """Lines of its log with that event."""
        return [line for line in self.lines() if line.get("event") == name]

    def stop(self, timeout_s: float = 240.0) -> int:
        """Stop gracefully; return the exit code."""
        assert self._process is not None
        self._process.terminate()
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
