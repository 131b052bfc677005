"""Which version answered, and whether it was that version alone: models of P8 and P10 show it in their values."""

import numpy as np

from benchmarks.ranker import TOLD
from protos.inference import inference_pb2
from protos.nearline.v1 import recommender_pb2

MIXED = "MIXED"
STEP = 1_000.0
"""Scores of the shop's model of version n lie from n times this on, and below n + 1 times."""


def recommended(message: bytes) -> str:
    """`Plan.read`: the version and the source, such as `2 NEARLINE`."""
    answer = recommender_pb2.RecommendResponse.FromString(message)
    version = answer.version
    computed = answer.source != recommender_pb2.FROM_FALLBACK  # popular items have scores that no model gave
    if computed and not all(version * STEP <= score < (version + 1) * STEP for score in answer.scores):
        return MIXED
    return f"{version} {recommender_pb2.Source.Name(answer.source).removeprefix('FROM_')}"


def inferred(message: bytes) -> str:
    """`Plan.read`: the version, such as `2 ANSWER`."""
    answer = inference_pb2.ModelInferResponse.FromString(message)
    place = next(at for at, output in enumerate(answer.outputs) if output.name == TOLD)
    told = np.frombuffer(answer.raw_output_contents[place], np.float32)
    if not len(told) or any(number != int(answer.model_version) for number in told.tolist()):
        return MIXED
    return f"{answer.model_version} ANSWER"
