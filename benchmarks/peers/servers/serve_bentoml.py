"""A service for `bentoml serve serve_bentoml:OnnxRanker`. Environment: PEER_MODEL, and PEER_BATCHED ("" or not)."""

import os
from typing import Any

import bentoml
import numpy as np
from session import Ranker

_BATCHING: dict[str, Any] = {"batchable": True, "max_batch_size": 64, "max_latency_ms": 10_000}


@bentoml.service(
    workers=1, traffic={"timeout": 60, "max_concurrency": 1_000}, metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)  # fmt: skip
class OnnxRanker:
    """POST /predict {"x": [[64 numbers]]}."""

    def __init__(self) -> None:
        self.ranker = Ranker(os.environ["PEER_MODEL"])

    @bentoml.api(**(_BATCHING if os.environ["PEER_BATCHED"] else {}))
    async def predict(self, x: list[list[float]]) -> list[dict[str, list[float]]]:
        """Answer, with a batch where BentoML made one."""
        items, scores = self.ranker(np.array(x, np.float32))
        return [{"items": i, "scores": s} for i, s in zip(items.tolist(), scores.tolist(), strict=True)]
