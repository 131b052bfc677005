"""What a request's context gives, and datatypes and shapes as a graph wants them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import InvalidRequestError
from serving.recipes.event import Event
from serving.recipes.fold import fold
from serving.recipes.inputs import Inputs
from serving.recipes.parse import parse_recipe
from serving.recipes.state import tracks_of
from serving.recipes.tensors import DTYPES, as_datatype
from serving.recipes.vocabulary import Vocabulary, hashes_of
from tests.recipes.cases import Tensor

REQUEST = Inputs(
    parse_recipe("""
number: {op: request, field: n, default: 3}
text: {op: request, field: t, default: x}
row: {op: request, field: p, default: home, vocabulary: [cart, home], unknown: 9}
item: {op: request, field: i, default: "", vocabulary: catalogue}
"""),
    [
        Tensor("number", "FP32", (-1, 1)),
        Tensor("text", "BYTES", (-1,)),
        Tensor("row", "INT32", (-1, 1)),
        Tensor("item", "INT64", (-1,)),
    ],
    ["a", "b"],
)


def values(requests: Any) -> dict[str, list[Any]]:
    return {name: made.ravel().tolist() for name, made in REQUEST.compute([None, None], [1, 1], requests).items()}


def test_without_requests_the_defaults_stand() -> None:
    expected: dict[str, list[Any]] = {"number": [3, 3], "text": ["x", "x"], "row": [1, 1], "item": [-1, -1]}
    assert values(None) == expected == values([{}, {"n": None, "other": 1}])


def test_a_request_says_otherwise() -> None:
    assert values([{"n": 0.5, "t": "y", "p": "cart", "i": "b"}, {"n": True, "p": "else"}]) == {
        "number": [0.5, 1],
        "text": ["y", "x"],
        "row": [0, 9],
        "item": [1, -1],
    }


def test_inputs_have_the_datatype_and_the_shape_of_the_graph() -> None:
    made = REQUEST.compute([None, None], [1, 1])
    assert {name: (str(array.dtype), array.shape) for name, array in made.items()} == {
        "number": ("float32", (2, 1)),
        "text": ("object", (2,)),
        "row": ("int32", (2, 1)),
        "item": ("int64", (2,)),
    }


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ({"n": "x"}, "context.n: expected a number, got 'x'"),
        ({"n": []}, "context.n: expected a number, got []"),
        ({"n": float("nan")}, "context.n: expected a finite number, got nan"),
        ({"n": 10**400}, "context.n: expected a finite number, got 1000"),
        ({"t": 1}, "context.t: expected a string, got 1"),
        ({"p": 1.5}, "context.p: expected a string, got 1.5"),
    ],
)
def test_a_context_of_another_type_is_refused(context: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        values([{}, context])
    assert str(caught.value).startswith(message)


def test_a_vocabulary_needs_a_catalogue_if_it_says_so() -> None:
    with pytest.raises(ValueError, match="vocabulary: expected a catalogue in the bundle, got none"):
        Inputs(parse_recipe("a: {n: 1}"), [Tensor("a", "INT64", (-1, 1))], None)


@given(st.floats(), st.sampled_from(sorted(DTYPES)))
def test_what_a_datatype_cannot_hold_becomes_the_nearest_it_can(value: float, name: str) -> None:
    made = as_datatype(np.array([value]), DTYPES[name])
    assert made.dtype == DTYPES[name] or name == "BYTES"
    assert name == "BYTES" or np.isfinite(made).all()
    if name.startswith("INT"):
        whole = 0 if np.isnan(value) else max(min(value, 2.0**62), -(2.0**62))
        assert abs(int(made[0])) <= 2 ** (int(name[3:]) - 1)
        assert abs(whole) >= 2**31 - 1 or made[0] == int(whole)


def test_huge_numbers_stay_finite() -> None:
    recipe = parse_recipe("s: {op: sum, field: x, window: 1h}\nm: {op: mean, field: x, window: 1h}")
    events = [Event(b"e", b"%08d" % at, "", at, {"x": 1e308}) for at in range(3)]
    document = fold(None, events, tracks_of([recipe]), 0).document
    inputs = Inputs(recipe, [Tensor("s", "FP32", (-1,)), Tensor("m", "FP64", (-1,))], None)
    made = inputs.compute([document], [9])
    assert made["s"].tolist() == [float(np.finfo(np.float32).max)]
    assert np.isfinite(made["m"]).all()


WORDS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6), max_size=60, unique=True)


@given(WORDS, WORDS)
def test_a_vocabulary_knows_its_words_and_no_others(words: list[str], others: list[str]) -> None:
    rows = {word: row for row, word in enumerate(words)}
    asked = words + others
    assert Vocabulary(words).rows_of(asked).tolist() == [rows.get(word, -1) for word in asked]


def test_a_large_vocabulary_is_right_in_every_row() -> None:
    words = [f"item-{n}" for n in range(100_000)]
    vocabulary = Vocabulary(words)
    assert (vocabulary.rows_of(words) == np.arange(len(words))).all()
    assert (vocabulary.rows(hashes_of([f"no-{n}" for n in range(1000)])) == -1).all()
    assert vocabulary.rows(np.zeros(1, np.uint64)).tolist() == [-1]


def test_a_fraction_for_an_input_of_whole_numbers_is_refused() -> None:
    whole = Inputs(parse_recipe("hour: {op: request, field: hour, default: 12}"), [Tensor("hour", "INT64", (-1,))], [])
    assert whole.compute([None], [1], [{"hour": 3.0}])["hour"].tolist() == [3]
    with pytest.raises(InvalidRequestError, match=r"context\.hour: expected a whole number, got 3\.5"):
        whole.compute([None], [1], [{"hour": 3.5}])
