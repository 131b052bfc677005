"""What is right: the same row by ONNX Runtime in this process, against which every answer is compared."""

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from benchmarks.peers.peer import Answer, PeerError
from benchmarks.ranker import INPUT, WIDTH

_CHECKED = 16
_TOLERANCE = 1e-4
"""Of scores, relative: batches of another size add up in another order."""


class Expected:
    """Rows, FP32 [16, 1, 64], and the answer to each."""

    def __init__(self, model: Path, seed: int = 0) -> None:
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        self.rows = np.random.default_rng(seed).standard_normal((_CHECKED, 1, WIDTH)).astype(np.float32)
        found = [session.run(["items", "scores"], {INPUT: row}) for row in self.rows]
        self.answers = [Answer(items[0], scores[0]) for items, scores in found]


def compare(answer: Answer, expected: Answer) -> None:
    """PeerError unless the items are those expected, in that order, and the scores, but for rounding."""
    if not np.array_equal(answer.items, expected.items):
        raise PeerError(f"wrong answer: items {_few(answer.items)}, expected {_few(expected.items)}")
    if answer.scores.shape != expected.scores.shape or not np.allclose(answer.scores, expected.scores, rtol=_TOLERANCE):
        raise PeerError(f"wrong answer: scores {_few(answer.scores)}, expected {_few(expected.scores)}")


def _few(array: NDArray[np.generic]) -> str:
    return f"{array.ravel()[:3].tolist()}… of {array.size}"
