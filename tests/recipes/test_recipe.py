"""What a recipe may say, and which graphs it fits."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from serving.errors import InvalidRequestError
from serving.recipes.check import check_recipe, covered
from serving.recipes.features import Count
from serving.recipes.parse import parse_recipe
from serving.recipes.recipe import OPS, LastN, changing_inputs, request_fields
from serving.recipes.windows import bucket_ms, span_ms
from tests.recipes.cases import EVERYTHING, INPUTS, Tensor


@pytest.mark.parametrize(
    "said",
    [{"n": 0}, {"n": 1001}, {}, {"n": 1, "field": ""}, {"n": 1, "field": "a\0b"}, {"n": 1, "field": "x" * 61},
     {"n": 1, "more": 1}, {"n": 1, "op": "first_n"}, {"n": 1, "field": "\ud800"}],
)  # fmt: skip
def test_a_recipe_that_cannot_be_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        LastN.model_validate(said)


def test_a_recipe_says_which_field_and_how_many() -> None:
    assert LastN.model_validate({"n": 5}) == LastN(op="last_n", field="item", n=5, pad=-1)


def test_a_recipe_is_yaml_or_json_and_what_the_first_release_left_out_means_the_same() -> None:
    history = {"h": LastN(n=4, field="film")}
    assert parse_recipe("h:\n  n: 4\n  field: film\n") == history
    assert parse_recipe('{"h": {"op": "last_n", "n": 4, "field": "film", "pad": -1}}') == history
    assert parse_recipe("{}") == {}


def test_every_operation_is_read_and_fits_its_graph() -> None:
    assert {feature.op for feature in EVERYTHING.values()} == set(OPS)
    check_recipe(EVERYTHING, INPUTS)
    assert covered(EVERYTHING) == {tensor.name for tensor in INPUTS}


OPS_WORDS = "last, last_n, count, sum, mean, max, distinct, age, request, constant"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "recipe: expected YAML or JSON, got while parsing a flow node"),
        ("a: !!python/object:os.system {}", "recipe: expected YAML or JSON, got could not determine a constructor"),
        ("", "recipe: expected dictionary, got None"),
        ("&a {a: *a}", "recipe.a.n: expected a value, got none"),
        ("1: {n: 1}", "recipe.1.[key]: expected string, got 1"),
        ("a: 1", "recipe.a: expected a map with op and its settings, got 1"),
        ("a: {op: first}", f"recipe.a.op: expected one of {OPS_WORDS}, got 'first'"),
        ("a: {op: [1]}", f"recipe.a.op: expected one of {OPS_WORDS}, got [1]"),
        ("a: {op: sum, window: 7d}", "recipe.a.field: expected a value, got none"),
        ("a: {op: age, window: 7d}", "recipe.a.window: expected no such field, got '7d'"),
        ("a: {n: 0}", "recipe.a.n: expected greater than or equal to 1, got 0"),
        ("a: {n: 1001}", "recipe.a.n: expected less than or equal to 1000, got 1001"),
        ("a: {n: 1, pad: x}", "recipe.a.pad: expected a row, a whole number, since there is a vocabulary, got 'x'"),
        ("a: {n: 1, vocabulary: null, unknown: 1}", "recipe.a.unknown: expected none without a vocabulary, got 1"),
        ("a: {n: 1, vocabulary: words}", "recipe.a.vocabulary: expected 'catalogue', got 'words'"),
        ("a: {n: 1, vocabulary: [x, y, x]}", "recipe.a.vocabulary: expected each word once, got 'x' twice"),
        ("a: {op: last, field: x, missing: .nan}", "recipe.a.missing: expected a finite number, got nan"),
        (
            "a: {op: last, field: x, vocabulary: [y], missing: 0.5}",
            "recipe.a.missing: expected a row, a whole number, since there is a vocabulary, got 0.5",
        ),
        (
            "a: {op: request, field: x, default: 1, vocabulary: [y]}",
            "recipe.a.default: expected a text, since there is a vocabulary, got 1",
        ),
        (
            "a: {op: request, field: x, default: y, vocabulary: [y, y]}",
            "recipe.a.vocabulary: expected each word once, got 'y' twice",
        ),
        ("a: {op: distinct, field: x, window: 1h, limit: 1001}", "recipe.a.limit: expected less than or equal to 1000"),
        ("a: {op: count, window: 91d}", "recipe.a.window: expected a span of 1m to 90d, such as 15m, 6h or 7d, got"),
        ("a: {op: count, window: 0m}", "recipe.a.window: expected a span of 1m to 90d, such as 15m, 6h or 7d, got"),
        (
            "a: {op: count, window: 401m}",
            "recipe.a.window: expected one that a bucket of 1m, 5m, 15m, 1h, 3h, 6h, 12h, 1d divides into at most 400",
        ),
        ("a: {op: count, window: 1h, bucket: 1y}", "recipe.a.bucket: expected a span of 1m to 90d"),
        (
            "a: {op: count, window: 1h, bucket: 7m}",
            "recipe.a.bucket: expected a width that divides 1h into at most 400 buckets, got '7m'",
        ),
        (
            "a: {op: count, window: 1d, bucket: 1m}",
            "recipe.a.bucket: expected a width that divides 1d into at most 400 buckets, got '1m'",
        ),
    ],
)
def test_a_recipe_that_cannot_be_says_where_and_why(text: str, message: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parse_recipe(text)
    assert str(caught.value).startswith(message)


def of(shape: tuple[int, ...] = (-1,), datatype: str = "FP32", name: str = "a") -> Tensor:
    return Tensor(name, datatype, shape)


@pytest.mark.parametrize(
    ("text", "inputs", "message"),
    [
        ("{n: 4}", [of(name="x")], "recipe.a: expected one of the inputs ['x'], got 'a'"),
        ("{n: 4}", [of((-1, 4))], "recipe.a: expected an input of INT32 or INT64, got FP32"),
        ("{n: 4}", [of((-1, 5), "INT64")], "recipe.a: expected an input of shape [-1, 4], got (-1, 5)"),
        ("{n: 4}", [of((4,), "INT64")], "recipe.a: expected an input of shape [-1, 4], got (4,)"),
        ("{n: 4, pad: 4294967296}", [of((-1, 4), "INT32")], "recipe.a.pad: expected a whole number that INT32 holds"),
        ("{n: 4, unknown: 4294967296}", [of((-1, 4), "INT32")], "recipe.a.unknown: expected a whole number that INT32"),
        ("{n: 4, mask: m}", [of((-1, 4), "INT64")], "recipe.a.mask: expected one of the inputs ['a'], got 'm'"),
        ("{n: 4, mask: a}", [of((-1, 4), "INT64")], "recipe.a.mask: expected an input of its own, got 'a'"),
        (
            "{n: 4, mask: m}\nb: {n: 4, mask: m}",
            [of((-1, 4), "INT64", name) for name in "abm"],
            "recipe.b.mask: expected an input of its own, got 'm'",
        ),
        (
            "{n: 4, mask: m}",
            [of((-1, 4), "INT64"), of((-1, 4), "BYTES", "m")],
            "recipe.a.mask: expected an input of FP32, FP64, INT32, INT64 or BOOL, got BYTES",
        ),
        (
            "{n: 4, mask: m}",
            [of((-1, 4), "INT64"), of((-1,), "FP32", "m")],
            "recipe.a.mask: expected an input of shape [-1, 4], got (-1,)",
        ),
        ("{op: last, field: x}", [of(datatype="BYTES")], "recipe.a: expected an input of FP32, FP64, INT32, INT64 or"),
        ('{op: last, field: x, missing: ""}', [of()], "recipe.a: expected an input of BYTES, got FP32"),
        ("{op: last, field: x}", [of((-1, 2))], "recipe.a: expected an input of shape [-1] or [-1, 1], got (-1, 2)"),
        (
            "{op: last, field: x, missing: 0.5}",
            [of(datatype="INT64")],
            "recipe.a.missing: expected a whole number that INT64 holds, got 0.5",
        ),
        ("{op: last, field: x}", [of(datatype="BOOL")], "recipe.a.missing: expected 0 or 1 for BOOL, got -1"),
        ("{op: count, window: 1h}", [of(datatype="BOOL")], "recipe.a: expected an input of FP32, FP64, INT32 or INT64"),
        ("{op: sum, field: x, window: 1h}", [of(datatype="INT64")], "recipe.a: expected an input of FP32 or FP64, got"),
        ("{op: age, missing: 0.5}", [of(datatype="INT32")], "recipe.a.missing: expected a whole number that INT32"),
        ("{op: constant, value: 0.5}", [of(datatype="INT32")], "recipe.a.value: expected a whole number that INT32"),
        ("{op: constant, value: x}", [of()], "recipe.a: expected an input of BYTES, got FP32"),
        ("{op: request, field: x, default: 2}", [of(datatype="BOOL")], "recipe.a.default: expected 0 or 1 for BOOL"),
        (
            "{op: request, field: x, default: y, vocabulary: [y]}",
            [of()],
            "recipe.a: expected an input of INT32 or INT64, got FP32",
        ),
        (
            "{op: request, field: x, default: 1}\nb: {op: request, field: x, default: 2}",
            [of(), of(name="b")],
            "recipe.b.default: expected 1 as of 'a', which reads the same field, got 2",
        ),
    ],
)
def test_a_recipe_that_does_not_fit_the_graph_says_where_and_why(text: str, inputs: list[Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=r"^recipe\.") as caught:
        check_recipe(parse_recipe(f"a: {text}"), inputs)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("window", "width"),
    [("1m", "1m"), ("15m", "1m"), ("90m", "1m"), ("1h", "1m"), ("6h", "5m"), ("1d", "15m"), ("7d", "1h"), ("30d", "6h"),
     ("90d", "1d"), ("181m", "1m")],
)  # fmt: skip
def test_buckets_are_as_fine_as_their_number_allows(window: str, width: str) -> None:
    assert bucket_ms(window, None) == span_ms(width, "width")
    assert Count(window=window).buckets * span_ms(width, "width") == span_ms(window, "window")


def test_windows_and_ages_change_while_nothing_happens() -> None:
    assert changing_inputs(parse_recipe("a: {op: age}\nb: {n: 1}")) == ["a"]
    assert changing_inputs(parse_recipe("a: {op: sum, field: x, window: 1h}")) == ["a"]
    assert not changing_inputs(parse_recipe("a: {n: 1}\nb: {op: constant, value: 1}\nc: {op: last, field: x}"))


def test_the_fields_of_a_request_have_defaults() -> None:
    assert request_fields(EVERYTHING) == {"page": "home", "hour": 12, "word": ""}


def test_the_documentations_example_fits_the_graph_that_it_describes() -> None:
    text = (Path(__file__).parents[2] / "docs/recipes.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    sizes = {"history": ("INT64", (-1, 20)), "history_mask": ("FP32", (-1, 20)), "page": ("INT64", (-1,))}
    recipe = parse_recipe(example)
    inputs = [Tensor(name, *sizes.get(name, ("FP32", (-1,)))) for name in covered(recipe)]
    check_recipe(recipe, inputs)
    assert len(inputs) == 6
    assert all(f"`{op}`" in text for op in OPS)
