"""The contract of a version."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos.nearline.v1 import status_pb2
from serving.bundles.manifest import Manifest, Recommendation, Tensor, read_manifest
from serving.errors import ModelError
from serving.recipes.recipe import LastN

HISTORY = {"name": "history", "datatype": "INT64", "shape": [-1, 4]}
ITEMS = {"name": "items", "datatype": "INT64", "shape": [-1, 3]}
SCORES = {"name": "scores", "datatype": "FP32", "shape": [-1, 3]}
GOOD: dict[str, Any] = {
    "inputs": [HISTORY],
    "outputs": [ITEMS, SCORES],
    "recipe": {"history": {"n": 4}},
    "recommendation": {},
}


def refusal(said: object) -> ModelError:
    with pytest.raises(ModelError) as caught:
        read_manifest(json.dumps(said).encode())
    assert (caught.value.kind, caught.value.rejected) == (status_pb2.MANIFEST, True)
    return caught.value


def test_a_manifest_comes_back_as_it_was() -> None:
    manifest = Manifest(
        description="d",
        inputs=(Tensor(name="history", datatype="INT64", shape=(-1, 4)),),
        outputs=(
            Tensor(name="items", datatype="INT64", shape=(-1, -1)),
            Tensor(name="scores", datatype="FP32", shape=(-1, -1)),
        ),
        recipe={"history": LastN(n=4)},
        recommendation=Recommendation(),
    )
    assert read_manifest(manifest.model_dump_json().encode()) == manifest


def test_fields_of_a_newer_release_are_ignored() -> None:
    assert read_manifest(json.dumps({**GOOD, "horoscope": {"run": 7}}).encode()).recommendation == Recommendation()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema_version": 2}, "schema_version: expected 1, got 2"),
        ({"inputs": []}, "inputs: Tuple should have at least 1 item"),
        ({"outputs": []}, "outputs: Tuple should have at least 1 item"),
        ({"inputs": [{**HISTORY, "shape": "x"}]}, "inputs.0.shape: "),
        ({"inputs": [{**HISTORY, "name": ""}]}, "inputs.0.name: "),
        ({"inputs": [{**HISTORY, "more": 1}]}, "inputs.0.more: "),
        ({"recipe": {"other": {"n": 4}}}, "recipe.other: expected one of the inputs ['history'], got 'other'"),
        ({"recipe": {}}, "recipe: expected an entry for every input, got none for ['history']"),
        ({"recipe": {"history": {"n": 5}}}, "recipe.history: expected an input of shape [-1, 5], got (-1, 4)"),
        ({"recipe": {"history": {"n": 0}}}, "recipe.history.n: "),
        ({"inputs": [{**HISTORY, "datatype": "FP32"}]}, "recipe.history: expected an input of INT32 or INT64"),
        ({"inputs": [{**HISTORY, "shape": [4]}]}, "recipe.history: expected an input of shape"),
        ({"inputs": [{**HISTORY, "shape": [1, 4]}]}, "recipe.history: expected an input of shape"),
        ({"outputs": [SCORES]}, "output 'items': expected INT64 of shape [batch, k], got None"),
        ({"outputs": [ITEMS, {**SCORES, "datatype": "FP64"}]}, "output 'scores': expected FP32 of shape"),
        ({"outputs": [ITEMS, {**SCORES, "shape": [-1]}]}, "output 'scores': expected FP32 of shape"),
        ({"outputs": [ITEMS, {**SCORES, "shape": [1, 3]}]}, "output 'scores': expected FP32 of shape"),
        ({"recommendation": {"items": "rows"}}, "output 'rows': expected INT64"),
    ],
)
def test_a_malformed_manifest_says_which_field(change: dict[str, Any], words: str) -> None:
    assert words in str(refusal({**GOOD, **change}))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b"{}", b'{"a":' * 10_000])
def test_bytes_that_are_no_manifest_are_refused(data: bytes) -> None:
    with pytest.raises(ModelError) as caught:
        read_manifest(data)
    assert (caught.value.kind, caught.value.rejected) == (status_pb2.MANIFEST, True)
    assert len(str(caught.value).splitlines()) == 1


@given(st.dictionaries(st.sampled_from([*GOOD, "schema_version"]), st.none() | st.text() | st.lists(st.integers())))
def test_whatever_it_says_nothing_else_is_raised(change: dict[str, Any]) -> None:
    try:
        read_manifest(json.dumps({**GOOD, **change}).encode())
    except ModelError as error:
        assert error.rejected  # noqa: PT017 - either way is right


@pytest.mark.parametrize("feature", [{"op": "count", "window": "7d"}, {"op": "age"}])
def test_what_changes_while_nothing_happens_needs_a_ttl(feature: dict[str, Any]) -> None:
    changing = {**GOOD, "inputs": [HISTORY, {"name": "often", "datatype": "FP32", "shape": [-1]}]}
    changing["recipe"] = {"history": {"n": 4}, "often": feature}
    assert "nearline.ttl: expected a length of time such as `1d`" in str(refusal(changing))
    assert "(often), got none" in str(refusal(changing))
    assert read_manifest(json.dumps({**changing, "nearline": {"ttl": "1d"}}).encode()).nearline.ttl == 86_400
