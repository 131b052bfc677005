"""The baseline as a file, and the merging of parts."""

import msgpack
import numpy as np
import pytest

from protos.nearline.v1 import status_pb2
from serving.bundles.baseline import SAMPLES, TRAINING, Attribute, Baseline, merge, read_baseline, read_summary
from serving.bundles.sketches import Categories, Numbers
from serving.errors import InvalidRequestError, ModelError


def baseline(*values: float, words: tuple[str, ...] = ("a",), missing: int = 0, source: str = TRAINING) -> Baseline:
    attributes = {
        "x": Attribute(Numbers.of(np.array(values, np.float64)), missing),
        "word": Attribute(Categories.of(dict.fromkeys(words, 1))),
    }
    return Baseline(source, len(values) + missing, attributes)


def test_it_comes_back_as_it_was() -> None:
    one = baseline(1, 2, 3, missing=1)
    assert read_baseline(one.encode()).summary() == one.summary()
    assert read_baseline(one.encode()).encode() == one.encode()


def test_parts_that_are_merged_count_everything_exactly() -> None:
    whole = merge(baseline(1, 2, words=("a", "b"), missing=1), baseline(3, words=("b",), missing=3)).summary()
    assert whole["rows"] == 7
    x, word = whole["attributes"]["x"], whole["attributes"]["word"]
    assert (x["count"], x["missing"], x["missing_share"]) == (3, 4, 4 / 7)
    assert (x["quantiles"]["0"], x["quantiles"]["0.5"], x["quantiles"]["1"]) == (1, 2, 3)
    assert word["frequent"] == {"b": 2, "a": 1}
    assert word["distinct"] == 2


def test_what_was_merged_with_samples_is_no_training_data_any_more() -> None:
    assert merge(baseline(1), baseline(2)).source == TRAINING
    assert merge(baseline(1), baseline(2, source=SAMPLES)).source == SAMPLES


def test_baselines_of_other_attributes_or_kinds_are_not_merged() -> None:
    one = baseline(1)
    with pytest.raises(InvalidRequestError, match=r"baseline: expected the attributes \['word', 'x'\], got \['x'\]"):
        merge(one, Baseline(TRAINING, 1, {"x": one.attributes["x"]}))
    with pytest.raises(InvalidRequestError, match=r"baseline\.x: expected numbers, got categories"):
        merge(one, Baseline(TRAINING, 1, {"x": one.attributes["word"], "word": one.attributes["word"]}))


def test_looking_at_it_reads_plain_values_and_no_sketch() -> None:
    one = baseline(1, 2, 3, words=("a", "b"), missing=1)
    said = msgpack.unpackb(one.encode())
    for attribute in said["attributes"].values():
        attribute["sketch"] = dict.fromkeys(attribute["sketch"], b"\xff" * 40)
    assert read_summary(msgpack.packb(said)) == one.summary()


GOOD = msgpack.unpackb(baseline(1).encode())
PLAIN = GOOD["attributes"]["x"]["summary"]


def attributes(**summary: object) -> bytes:
    packed: bytes = msgpack.packb({**GOOD, "attributes": {"x": {"summary": {**PLAIN, **summary}, "sketch": {}}}})
    return packed


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        msgpack.packb([]),
        msgpack.packb({**GOOD, "format": 2}),
        msgpack.packb({**GOOD, "attributes": {"x": {}}}),
        msgpack.packb({**GOOD, "attributes": {"x": 7}}),
        attributes(kind="moods"),
        attributes(missing=-1),
        attributes(quantiles={"0.5": "much"}),
    ],
)
def test_bytes_that_are_none_are_refused(data: bytes) -> None:
    with pytest.raises(ModelError, match=r"^baseline\.msgpack: ") as caught:
        read_summary(data)
    assert (caught.value.kind, caught.value.rejected) == (status_pb2.MANIFEST, True)
    assert len(str(caught.value).splitlines()) == 1


def test_a_baseline_without_its_sketches_is_refused() -> None:
    with pytest.raises(ModelError, match=r"^baseline\.msgpack: KeyError"):
        read_baseline(attributes())
