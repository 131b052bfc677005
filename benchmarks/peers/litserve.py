"""LitServe over HTTP with JSON: one process that speaks HTTP, one that computes, both on the core."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.over_http import JSON, HttpCaller, json_answer, json_body
from benchmarks.peers.scripts import SERVERS, Script, scripted


def _command(model: Path, port: int, _folder: Path, options: Mapping[str, Any]) -> Sequence[str | Path]:
    more = [name for name in ("fast_queue", "response") if options.get(name)]
    return [SERVERS / "serve_litserve.py", model, str(port), str(options.get("batch", 1)), *more]


PEER = scripted(
    "litserve",
    "LitServe",
    HttpCaller("/predict", JSON, json_body, json_answer),
    Script("litserve", _command),
    {
        "no batching": {},
        "answers as JSON from the worker": {"response": True},
        "answers as JSON from the worker, fast_queue": {"response": True, "fast_queue": True},
        "answers as JSON from the worker, batches of 64": {"response": True, "batch": 64},
    },
    "litserve",
)
