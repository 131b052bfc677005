"""What every store promises of rankings."""

import pytest

from serving.errors import PositionConflictError
from serving.store.port import MAX_SCORE, Change, Rank, StoreWriter
from tests.store.stores import Store, at

R = b"r"


def test_nothing_is_ranked_before_the_first_write(writer: StoreWriter) -> None:
    assert (writer.ranked(0, R, 10), writer.ranks(0, R, [b"a"]), writer.size(0, R)) == ([], [None], 0)
    assert (writer.rankings(0), writer.ranks(0, R, [])) == ([], [])


def test_members_come_in_order_of_scores_then_of_their_bytes(writer: StoreWriter) -> None:
    scores = {b"b": 2, b"a": 2, b"ab": 2, b"\xff": 1, b"z": 0, b"": 2, b"large": MAX_SCORE, b"larger": MAX_SCORE - 1}
    writer.write(0, None, at(1), [Rank(R, member, score) for member, score in scores.items()])
    expected = sorted(scores.items(), key=lambda item: (item[1], item[0]))
    assert writer.ranked(0, R, 100) == expected
    assert writer.ranked(0, R, 3) == expected[:3]
    assert writer.ranks(0, R, [*scores, b"none"]) == [*scores.values(), None]
    assert writer.size(0, R) == len(scores)


def test_scores_are_exact_up_to_the_largest(writer: StoreWriter) -> None:
    scores = [MAX_SCORE - i for i in range(5)] + [2**52 + i for i in range(-2, 3)] + [1_700_000_000_123_457]
    writer.write(0, None, at(1), [Rank(R, b"%d" % score, score) for score in scores])
    assert writer.ranked(0, R, 100) == [(b"%d" % score, score) for score in sorted(scores)]
    assert writer.ranks(0, R, [b"%d" % score for score in scores]) == scores


def test_a_part_of_the_scores_can_be_asked_for(writer: StoreWriter) -> None:
    writer.write(0, None, at(1), [Rank(R, b"%02d" % i, i) for i in range(20)])
    assert [score for _, score in writer.ranked(0, R, 3, least=5)] == [5, 6, 7]
    assert [score for _, score in writer.ranked(0, R, 100, most=2)] == [0, 1, 2]
    assert [score for _, score in writer.ranked(0, R, 100, least=18, most=18)] == [18]
    assert writer.ranked(0, R, 100, least=20) == writer.ranked(0, R, 100, least=3, most=2) == []


def test_a_member_moves_and_leaves(writer: StoreWriter) -> None:
    writer.write(0, None, at(1), [Rank(R, b"a", 1), Rank(R, b"b", 2), Rank(R, b"c", 3)])
    writer.write(0, at(1), at(2), [Rank(R, b"a", 9), Rank(R, b"b", None), Rank(R, b"c", 3), Rank(R, b"never", None)])
    assert writer.ranked(0, R, 10) == [(b"c", 3), (b"a", 9)]
    assert writer.size(0, R) == 2
    writer.write(0, at(2), at(3), [Rank(R, b"a", None), Rank(R, b"c", None)])
    assert (writer.rankings(0), writer.size(0, R)) == ([], 0)


def test_the_last_rank_of_a_member_in_a_batch_counts(writer: StoreWriter) -> None:
    changes = [Rank(R, b"a", 1), Rank(R, b"a", None), Rank(R, b"a", 3), Rank(R, b"b", 1), Rank(R, b"b", None)]
    writer.write(0, None, at(1), changes)
    assert (writer.ranked(0, R, 10), writer.size(0, R)) == ([(b"a", 3)], 1)


def test_rankings_shards_and_spaces_of_one_name_are_separate(writer: StoreWriter) -> None:
    writer.write(0, None, at(1), [Rank(R, b"a", 1), Rank(b"other", b"a", 2), Change(R, b"a", b"value")])
    writer.write(1, None, at(1), [Rank(R, b"a", 3)])
    found = [writer.ranks(shard, name, [b"a"]) for shard, name in ((0, R), (0, b"other"), (1, R), (1, b"other"))]
    assert found == [[1], [2], [3], [None]]
    assert (writer.rankings(0), writer.rankings(1), writer.spaces(0)) == ([b"other", R], [R], [R])
    writer.write(0, at(1), at(2), [Rank(R, b"a", None)])
    assert writer.read(0, R, [b"a"]) == [b"value"]


def test_ranks_are_written_with_the_rest_of_the_batch_or_not_at_all(store: Store, writer: StoreWriter) -> None:
    writer.write(0, None, at(1), [Rank(R, b"a", 1)])
    zombie = store.writer()
    with pytest.raises(PositionConflictError):
        zombie.write(0, None, at(2), [Change(b"s", b"a", b"1"), Rank(R, b"a", 2), Rank(R, b"b", 2)])
    zombie.close()
    assert (writer.ranked(0, R, 10), writer.spaces(0)) == ([(b"a", 1)], [])


def test_a_batch_may_have_tens_of_thousands_of_ranks(writer: StoreWriter) -> None:
    count = 20_000
    writer.write(0, None, at(1), [Rank(R, b"%05d" % i, count - i) for i in range(count)])
    assert writer.size(0, R) == count
    assert writer.ranked(0, R, 2) == [(b"%05d" % (count - 1), 1), (b"%05d" % (count - 2), 2)]
    writer.write(0, at(1), at(2), [Rank(R, b"%05d" % i, None if i else 0) for i in range(count)])
    assert writer.ranked(0, R, count) == [(b"00000", 0)]


def test_pages_follow_each_other_also_where_scores_are_equal(writer: StoreWriter) -> None:
    members = [(b"%02d" % number, number // 10) for number in range(35)]
    writer.write(0, None, at(1), [Rank(R, member, score) for member, score in members])
    found: list[tuple[bytes, int]] = []
    while page := writer.ranked(0, R, 4, after=found[-1] if found else None):
        found += page
    assert found == members
    assert writer.ranked(0, R, 3, after=(b"05", 0), most=0) == [(b"06", 0), (b"07", 0), (b"08", 0)]
    assert writer.ranked(0, R, 3, after=(b"09", 0), most=0) == []
    assert writer.ranked(0, R, 2, after=(b"05", 0), least=2) == [(b"20", 2), (b"21", 2)]


def test_a_page_follows_a_member_that_is_gone_or_has_moved(writer: StoreWriter) -> None:
    writer.write(0, None, at(1), [Rank(R, b"%02d" % number, 1) for number in range(9)])
    writer.write(0, at(1), at(2), [Rank(R, b"05", None), Rank(R, b"06", 0)])
    assert writer.ranked(0, R, 2, after=(b"05", 1)) == [(b"07", 1), (b"08", 1)]
    assert writer.ranked(0, R, 1, after=(b"06", 1)) == [(b"07", 1)]
    assert writer.ranked(0, R, 9, after=(b"08", 1)) == []
