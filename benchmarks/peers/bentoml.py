"""BentoML over HTTP with JSON, one worker, access log and metrics off."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.over_http import JSON, HttpCaller, json_body
from benchmarks.peers.peer import Answer
from benchmarks.peers.scripts import SERVERS, Script, scripted

_RUN = "from bentoml_cli.cli import cli; cli()"


def _command(_model: Path, port: int, _folder: Path, _options: Mapping[str, Any]) -> Sequence[str | Path]:
    service = ["serve_bentoml:OnnxRanker", "--working-dir", str(SERVERS)]
    return ["-c", _RUN, "serve", *service, "--host", "127.0.0.1", "--port", str(port)]


def _answer(body: bytes) -> Answer:
    row = json.loads(body)[0]
    return Answer(np.array(row["items"], np.int64), np.array(row["scores"], np.float32))


PEER = scripted(
    "bentoml",
    "BentoML",
    HttpCaller("/predict", JSON, json_body, _answer),
    Script("bentoml", _command, {"DO_NOT_TRACK": "1", "BENTOML_DO_NOT_TRACK": "True", "PEER_BATCHED": ""}),
    {
        "no batching": {},
        "adaptive batching, 64 rows": {"environment": {"PEER_BATCHED": "1"}},
    },
    "bentoml",
)
