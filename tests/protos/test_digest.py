"""The name of a bundle."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from protos.digest import FileEntry, bundle_digest

ENTRIES = st.builds(
    FileEntry,
    st.from_regex(r"[a-z./]{1,8}", fullmatch=True),
    st.integers(0, 3).map(lambda i: hashlib.sha256(bytes([i])).hexdigest()),
    st.integers(0, 1 << 40),
)


def test_the_digest_is_what_sha256sum_of_the_listing_says() -> None:
    """Fixed for ever: digests of one release must be those of the next."""
    entry = FileEntry("model.onnx", "a" * 64, 12)
    assert bundle_digest([entry]) == hashlib.sha256(b"a" * 64 + b"  12  model.onnx\n").hexdigest()


@given(st.lists(ENTRIES, unique=True).flatmap(lambda files: st.tuples(st.just(files), st.permutations(files))))
def test_the_order_of_files_does_not_matter(both: tuple[list[FileEntry], list[FileEntry]]) -> None:
    assert bundle_digest(both[0]) == bundle_digest(both[1])


@given(st.sets(ENTRIES), st.sets(ENTRIES))
def test_other_files_have_another_digest(one: set[FileEntry], other: set[FileEntry]) -> None:
    assert (bundle_digest(one) == bundle_digest(other)) is (one == other)
