"""KServe's Python server over gRPC, logging off. It does not batch: its agent does, a program in Go beside it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.over_grpc import GrpcCaller
from benchmarks.peers.processes import free_port
from benchmarks.peers.scripts import SERVERS, Script, scripted


def _command(model: Path, port: int, _folder: Path, _options: Mapping[str, Any]) -> Sequence[str | Path]:
    return [SERVERS / "serve_kserve.py", model, str(port), str(free_port())]


PEER = scripted(
    "kserve",
    "KServe (Python server)",
    GrpcCaller(),
    Script("kserve", _command),
    {"logging off": {}},
    "kserve",
)
