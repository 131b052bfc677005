"""Runs a graph that this machine's own user made, in this process: for comparing a conversion with its original.

Never for a bundle that came from somewhere: that is what trial.py is for.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray

from serving.bundles.bundle import GRAPH
from serving.bundles.session import ModelSession


def run_graph(graph: onnx.ModelProto, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
    """Return all outputs; ModelError(LOAD)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / GRAPH).write_bytes(graph.SerializeToString())
        session = ModelSession.open(path)
        typed = {name: a.astype(object) if a.dtype.kind == "U" else a for name, a in inputs.items()}
        return session.run(typed, None)
