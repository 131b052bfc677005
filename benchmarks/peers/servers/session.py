"""The model as every peer has it: one thread, as there is one core."""

import numpy as np
import onnxruntime


class Ranker:
    """`x` FP32 [n, 64] -> `items` INT64 [n, 20], `scores` FP32 [n, 20]."""

    def __init__(self, path: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._run = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]).run

    def __call__(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute."""
        items, scores = self._run(["items", "scores"], {"x": x})
        return items, scores
