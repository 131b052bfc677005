"""Names at the edge."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos.names import (
    MAX_ENTITY_BYTES,
    InvalidNameError,
    check_digest,
    check_label,
    check_model_name,
    check_version,
    entity_key,
)


@pytest.mark.parametrize("name", ["a", "homepage-row", "m_1", "a" * 64])
def test_model_names_that_are_allowed(name: str) -> None:
    assert check_model_name(name) == name


@pytest.mark.parametrize("name", ["", "A", "1a", "-a", "a" * 65, "a/b", "a b", "a\n", "ä", "a.b"])
def test_model_names_that_are_not(name: str) -> None:
    with pytest.raises(InvalidNameError, match=r"^model name: expected"):
        check_model_name(name)


@pytest.mark.parametrize("label", ["eu-west-1", "serving.0", "A", "0" * 63])
def test_labels_that_are_allowed(label: str) -> None:
    assert check_label(label) == label


@pytest.mark.parametrize("label", ["", "/", "a/b", "@ledger", ".a", "0" * 64, "a\n"])
def test_labels_that_are_not(label: str) -> None:
    with pytest.raises(InvalidNameError, match=r"^name or label: expected"):
        check_label(label)


@pytest.mark.parametrize("version", [0, -1, 1 << 63])
def test_versions_that_are_not(version: int) -> None:
    with pytest.raises(InvalidNameError, match=f"got {version}"):
        check_version(version)


@pytest.mark.parametrize("digest", ["", "0" * 63, "0" * 65, "A" * 64, "g" * 64, "0" * 64 + "\n"])
def test_digests_that_are_not(digest: str) -> None:
    with pytest.raises(InvalidNameError, match=r"^digest: expected 64"):
        check_digest(digest)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=MAX_ENTITY_BYTES // 4))
def test_an_entity_id_is_its_bytes(text: str) -> None:
    assert entity_key(text).decode() == text


@pytest.mark.parametrize("text", ["", "x" * 257, "ä" * 129, "\ud800"])
def test_entity_ids_that_are_not(text: str) -> None:
    with pytest.raises(InvalidNameError, match=r"^entity_id: expected"):
        entity_key(text)
