"""nearline itself: `nearline serve` with one serving worker, all protections on."""

import importlib.metadata
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import psutil

from benchmarks.loads import address
from benchmarks.nodes import node
from benchmarks.peers.over_grpc import GrpcCaller
from benchmarks.peers.peer import Peer, Started
from publisher.api import publish
from serving.settings import Settings


@contextmanager
def _start(model: Path, folder: Path, options: Mapping[str, Any]) -> Iterator[Started]:
    data = {"data_dir": folder / "data", "workers": 1, "nearline_workers": 0}
    settings = Settings.model_validate(data)
    publish("ranker", onnx.load(model), settings=settings)
    with node(settings, **options) as process:
        root = psutil.Process(process.pid)
        yield Started(int(address(settings).rpartition(":")[2]), lambda: [root, *root.children(recursive=True)])


def _versions() -> dict[str, str]:
    found = {name: importlib.metadata.version(name) for name in ("nearline", "onnxruntime")}
    return {"python": platform.python_version()} | found


PEER = Peer(
    key="nearline",
    name="nearline",
    start=_start,
    caller=GrpcCaller(),
    configurations={"--transport native": {"transport": "native"}},
    versions=_versions,
)
