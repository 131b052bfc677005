"""Items that must not be shown, looked for in encoded answers."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos.records import MILLION, Share
from serving.models.answers import Answer
from serving.models.blocking import Blocked, Hidden
from serving.models.table import ActiveModel, LedgerSide

ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
MANY = {f"other-{n}": 0 for n in range(100)}


def message(*items: str) -> bytes:
    return Answer(items, [0.5] * len(items), "m", 1, 7).message()


@pytest.mark.parametrize("more", [{}, MANY])
def test_an_item_is_hidden_until_its_time_is_over(more: Mapping[str, int]) -> None:
    blocked = Blocked.of({**more, "ever": 0, "while": 100})
    assert [blocked.hides(item, 99) for item in ("ever", "while", "not")] == [True, True, False]
    assert [blocked.hides(item, 100) for item in ("ever", "while")] == [True, False]


@pytest.mark.parametrize("more", [{}, MANY])
@given(items=st.lists(ids, max_size=8), blocked=st.sets(ids, max_size=3))
def test_what_is_in_an_answer_is_never_overlooked(items: list[str], blocked: set[str], more: Mapping[str, int]) -> None:
    found = Blocked.of({**more, **dict.fromkeys(blocked, 0)}).may_be_in(message(*items))
    assert found or not blocked.intersection(items)


@pytest.mark.parametrize("more", [{}, MANY])
def test_an_item_whose_id_only_begins_like_a_blocked_one_leaves_the_answer_alone(more: Mapping[str, int]) -> None:
    assert not Blocked.of({**more, "item-1": 0}).may_be_in(message("item-10", "an item-1"))


def test_an_answer_goes_without_what_is_excluded_or_blocked() -> None:
    hidden = Hidden(frozenset({"a"}), Blocked.of({"b": 0, "c": 5}), 9)
    answer = Answer(["a", "b", "c", "d"], [4.0, 3.0, 2.0, 1.0], "m", 1, 7).without(hidden)
    assert (answer.item_ids, answer.scores) == (["c", "d"], [2.0, 1.0])


def test_a_model_in_the_table_has_its_list_prepared() -> None:
    share = (Share(1, MILLION),)
    assert ActiveModel("m", share, share, {}, ledger=LedgerSide(blocked={"a": 0})).blocked.hides("a", 1)
