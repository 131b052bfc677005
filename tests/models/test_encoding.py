"""Answers encoded and cut by hand are what protobuf makes of them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from protos.nearline.v1 import recommender_pb2 as pb
from serving.models.encoding import AnswerEncoder, first_items

SCORES = st.floats(width=32, allow_nan=False)
IDS = st.text(max_size=6) | st.sampled_from(["x" * 127, "x" * 128, "é" * 9_000])
PAIRS = st.lists(st.tuples(IDS, SCORES), max_size=20)


@given(PAIRS, st.integers(1, 25))
def test_the_first_items_keep_their_scores_and_everything_else(pairs: list[tuple[str, float]], k: int) -> None:
    answer = pb.RecommendResponse(
        item_ids=[i for i, _ in pairs], scores=[s for _, s in pairs], model="m", version=3, computed_at_ms=7
    )
    cut, count = first_items(answer.SerializeToString(), k)
    found = pb.RecommendResponse.FromString(cut)
    del answer.item_ids[k:], answer.scores[k:]
    assert found == answer
    assert count == len(answer.item_ids)


@given(PAIRS, st.integers(1, 25))
def test_whatever_the_layout(pairs: list[tuple[str, float]], k: int) -> None:
    """One that was put together from parts, as protobuf allows."""
    parts = [pb.RecommendResponse(scores=[s], item_ids=[i], model="m") for i, s in pairs]
    message = pb.RecommendResponse(version=3).SerializeToString() + b"".join(p.SerializeToString() for p in parts)
    expected = pb.RecommendResponse.FromString(message)
    del expected.item_ids[k:], expected.scores[k:]
    assert pb.RecommendResponse.FromString(first_items(message, k)[0]) == expected


@given(st.lists(IDS, min_size=1, max_size=20))
def test_an_answer_is_encoded_as_by_protobuf_whatever_the_lengths_of_its_ids(ids: list[str]) -> None:
    rows = np.arange(len(ids))[None, ::-1]
    scores = np.arange(len(ids), dtype=np.float32)[None]
    (message,) = AnswerEncoder("m", 3, ids).encode(rows, scores, None, 7)
    assert pb.RecommendResponse.FromString(message) == pb.RecommendResponse(
        item_ids=ids[::-1], scores=scores[0].tolist(), model="m", version=3, computed_at_ms=7
    )
