"""Rows of a bulk load's file, and which loads matter."""

from typing import Any

import msgpack
import pytest

from protos.bulk import MAX_MESSAGE_BYTES, BadRowError, decode_row, encode_row, kept, previous, wanted
from protos.nearline.v1 import recommender_pb2
from protos.records import BulkLoad

LOADS = {number: BulkLoad(number, 1, "d", "uri", f"{number}", 1, 1) for number in (2, 3, 5, 8)}


def answer(**fields: Any) -> bytes:
    said = {"item_ids": ["a"], "scores": [1.0], "model": "m", "version": 1, "computed_at_ms": 7, **fields}
    return recommender_pb2.RecommendResponse(**said).SerializeToString()


def test_a_row_is_read_back_as_it_was_written() -> None:
    raw = msgpack.unpackb(encode_row(b"ann", answer()), raw=True)
    assert decode_row(raw, "m", 1) == (b"ann", answer(), 7)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (7, "row: expected two byte strings, got 7"),
        ((b"ann",), "row: expected two byte strings"),
        ((b"ann", 7), "row: expected two byte strings"),
        ((b"", b""), "got 0 and 0"),
        ((b"x" * 257, b""), "got 257 and 0"),
        ((b"ann", b"x" * (MAX_MESSAGE_BYTES + 1)), f"got 3 and {MAX_MESSAGE_BYTES + 1}"),
        ((b"ann", b"\xff"), "prediction: expected a RecommendResponse"),
        ((b"ann", answer(model="n")), "prediction: expected m version 1, got 'n' 1"),
        ((b"ann", answer(version=2)), "prediction: expected m version 1, got 'm' 2"),
        ((b"ann", answer(scores=[])), "got 1 and 0 at 7 ms"),
        ((b"ann", answer(item_ids=[], scores=[])), "got 0 and 0 at 7 ms"),
        ((b"ann", answer(computed_at_ms=0)), "got 1 and 1 at 0 ms"),
    ],
)
def test_what_is_no_row_says_why(raw: Any, words: str) -> None:
    with pytest.raises(BadRowError) as error:
        decode_row(raw, "m", 1)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("shown", "before", "needed", "stay"),
    [
        (0, 0, [8], [8]),  # the newest may be shown in a moment
        (2, 0, [2, 8], [2, 8]),
        (5, 3, [5, 8], [5, 8, 3]),
        (8, 5, [8], [8, 5]),
    ],
)
def test_which_loads_are_wanted_and_kept(shown: int, before: int, needed: list[int], stay: list[int]) -> None:
    assert previous(LOADS, shown) == before
    assert [load.number for load in wanted(LOADS, shown)] == needed
    assert [load.number for load in kept(LOADS, shown)] == stay


def test_without_loads_nothing_is_wanted() -> None:
    assert (wanted({}, 0), kept({}, 0), previous({}, 0)) == ([], [], 0)
