"""What a recipe may say."""

from typing import Any

import pytest
from pydantic import ValidationError

from serving.recipes.recipe import LastN


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
