"""MLServer with a custom runtime (it has none for ONNX), over gRPC, without workers beside its one process."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.over_grpc import GrpcCaller
from benchmarks.peers.processes import free_port
from benchmarks.peers.scripts import Script, scripted

_RUN = "from mlserver.cli import main; main()"


def _command(model: Path, port: int, folder: Path, options: Mapping[str, Any]) -> Sequence[str | Path]:
    settings = {
        "host": "127.0.0.1",
        "grpc_port": port,
        "http_port": free_port(),
        "metrics_endpoint": None,
        "parallel_workers": 0,
        "debug": False,
        "logging_settings": {"version": 1, "root": {"level": "ERROR"}, "loggers": {"mlserver": {"level": "ERROR"}}},
    }
    ranker = {
        "name": "ranker",
        "implementation": "serve_mlserver.OnnxRanker",
        "parameters": {"uri": str(model)},
        **options.get("model", {}),
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(ranker))
    return ["-c", _RUN, "start", folder]


PEER = scripted(
    "mlserver",
    "MLServer",
    GrpcCaller(),
    Script("mlserver", _command),
    {
        "no batching": {},
        "adaptive batching, 64 rows, 1 ms": {"model": {"max_batch_size": 64, "max_batch_time": 0.001}},
    },
    "mlserver",
)
