"""Runs a graph that this machine's own user made, in this process: for comparing a conversion with its original.

Not before it has run the same rows in a process that may be lost: a converter may make what crashes the runtime.
Never for a bundle that came from somewhere: that is what trial.py is for.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray

from serving.bundles.bundle import GRAPH, SAMPLES
from serving.bundles.look import Bounds, look_at
from serving.bundles.samples import encode_samples
from serving.bundles.session import ModelSession

_BOUNDS = Bounds(timeout_s=3600.0, memory_bytes=1 << 40)
"""For what ends the process: how long the rows of one's own model take, and how much, is one's own affair."""


def run_graph(graph: onnx.ModelProto, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
    """Return all outputs; ModelError(LOAD), or CRASH where that would have ended this process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / GRAPH).write_bytes(graph.SerializeToString())
        texts = {name: a.astype(str) if a.dtype.kind == "O" else a for name, a in inputs.items()}
        (path / SAMPLES).write_bytes(encode_samples(texts))
        look_at(path, _BOUNDS)
        session = ModelSession.open(path)
        typed = {name: a.astype(object) if a.dtype.kind == "U" else a for name, a in inputs.items()}
        return session.run(typed, None)
