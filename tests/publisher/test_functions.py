"""Functions that build a graph, by themselves and by name; and what is no model at all."""

from pathlib import Path
from typing import Any

import pytest

from publisher.sources.choose import load_source
from serving.errors import InvalidRequestError, UserError
from tests.builders.graphs import doubler


def test_the_graph_that_a_function_returns_is_taken() -> None:
    assert load_source(doubler).graph == doubler()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_such_module:build", "No module named 'no_such_module'"),
        ("tests.builders.graphs:nope", "nope"),
        ("publisher.sources.choose:_BY_SUFFIX", "which is a dict"),
    ],
)
def test_a_name_that_is_none_is_refused(name: str, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"^MODEL: expected module:function, got {name}.*{words}"):
        load_source(name)


def test_a_function_that_fails_or_returns_something_else_is_refused() -> None:
    def fails() -> None:
        raise ValueError("no data")

    def nothing() -> None:
        return None

    with pytest.raises(UserError, match=r"^MODEL: fails\(\) failed: ValueError: no data$"):
        load_source(fails)
    with pytest.raises(InvalidRequestError, match=r"an onnx.ModelProto from nothing\(\), got NoneType"):
        load_source(nothing)


@pytest.mark.parametrize("model", [7, {"weights": 1}, None])
def test_what_is_no_model_is_refused_by_its_type(model: Any) -> None:
    with pytest.raises(InvalidRequestError, match=f"got {type(model).__name__}$"):
        load_source(model)


def test_a_file_of_no_known_kind_is_told_what_is_known(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match=r"a file ending in \.onnx, .*models:/…, runs:/…, or module:function"):
        load_source(tmp_path / "model.h5")
