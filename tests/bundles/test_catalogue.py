"""What the rows are."""

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos.nearline.v1 import status_pb2
from serving.bundles.catalogue import make_catalogue, read_catalogue
from serving.errors import InvalidRequestError, ModelError

IDS = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=10), min_size=1, max_size=10, unique=True
)


@given(IDS, st.data())
def test_a_catalogue_comes_back_as_it_was(ids: list[str], data: st.DataObject) -> None:
    popular = data.draw(st.lists(st.integers(0, len(ids) - 1), max_size=5))
    read = read_catalogue(make_catalogue(ids, popular).encode())
    assert (list(read.ids), list(read.popular)) == (ids, popular)
    assert [read.rows[item] for item in ids] == list(range(len(ids)))


@pytest.mark.parametrize(
    ("ids", "popular", "words"),
    [
        ([], [], "catalogue.ids: expected at least one item"),
        (["a", "b", "a"], [], "catalogue.ids: expected each item once, got 'a' twice"),
        ([""], [], "catalogue.ids: expected strings of 1 to 256 bytes, got ''"),
        (["x" * 257], [], "catalogue.ids: expected strings of 1 to 256 bytes"),
        (["x", "\N{PARTY POPPER}" * 65], [], "catalogue.ids: expected strings of 1 to 256 bytes"),
        ([1], [], "catalogue.ids: expected strings"),
        (["a"], [1], "catalogue.popular: expected rows from 0 to 0, got 1"),
        (["a"], [-1], "catalogue.popular: expected rows from 0 to 0, got -1"),
        (["a"], ["a"], "catalogue.popular: expected rows"),
    ],
)
def test_what_cannot_be_is_refused_when_publishing_and_when_loading(ids: Any, popular: Any, words: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        make_catalogue(ids, popular)
    assert str(caught.value).startswith(words)
    with pytest.raises(ModelError) as refused:
        read_catalogue(msgpack.packb({"ids": ids, "popular": popular}))
    assert words in str(refused.value)


@pytest.mark.parametrize("item", ["x" * 256, "\N{PARTY POPPER}" * 64, "é" * 128])
def test_an_id_may_take_256_bytes_in_whatever_characters(item: str) -> None:
    assert list(make_catalogue(["a", item], []).ids) == ["a", item]


@given(
    st.binary(max_size=30)
    | st.builds(
        lambda ids, popular: msgpack.packb({"ids": ids, "popular": popular}),
        st.none() | st.integers(0, 9) | st.text() | st.lists(st.integers(0, 9) | st.text() | st.binary()),
        st.none() | st.integers(0, 9) | st.lists(st.none() | st.integers(0, 9)),
    )
)
def test_whatever_the_bytes_are_nothing_but_a_refusal_is_raised(data: bytes) -> None:
    try:
        read_catalogue(data)
    except ModelError as error:
        assert (error.kind, error.rejected) == (status_pb2.MANIFEST, True)  # noqa: PT017 - either way is right
