"""ONNX Runtime called in a loop at batch 1: `python -m benchmarks.inprocess FOLDER SECONDS`; runs a second on a line.

FOLDER holds a bundle's graph. The session is the one that serving workers have. On the server's core.
"""

import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.nodes import SERVER_CORE, pin
from benchmarks.ranker import INPUT, WIDTH
from serving.bundles.session import ModelSession

_WARM, _ROUND = 2_000, 200


def main() -> None:
    """Measure."""
    pin(SERVER_CORE)
    session = ModelSession.open(Path(sys.argv[1]))
    rows = np.random.default_rng(0).standard_normal((_ROUND, 1, WIDTH)).astype(np.float32)
    outputs = [tensor.name for tensor in session.outputs]
    for turn in range(_WARM):
        session.run({INPUT: rows[turn % _ROUND]}, outputs)
    began, count, seconds = time.perf_counter(), 0, float(sys.argv[2])
    while (passed := time.perf_counter() - began) < seconds:
        for row in rows:
            session.run({INPUT: row}, outputs)
        count += _ROUND
    sys.stdout.write(f"{count / passed}\n")


if __name__ == "__main__":
    main()
