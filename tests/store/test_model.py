"""Any sequence of writes, ranks and drops leaves what dictionaries would hold."""

import itertools
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from serving.errors import PositionConflictError
from serving.store.port import MAX_SCORE, Change, Cursor, Rank, StoreWriter
from tests.store.contents import ShardContents, contents
from tests.store.stores import at

_fresh = itertools.count(1000)

_names = st.sampled_from([b"s", b"p/m\0\x01", b"p/m\0\x02", b"\xff"])
_keys = st.sampled_from([b"", b"a", b"ab", b"b", b"\0", b"\xff\xff"])  # few, so that they meet
_limits = st.integers(1, 6)
_shards = st.integers(0, 1)
_cursors = st.sampled_from(["right", "stale", "none"])
_changes = st.lists(
    st.one_of(
        st.builds(Change, _names, _keys, st.one_of(st.none(), st.binary(max_size=8))),
        st.builds(Rank, _names, _keys, st.one_of(st.none(), st.integers(0, 9), st.integers(0, MAX_SCORE))),
    ),
    max_size=12,
)


class Machine(RuleBasedStateMachine):
    """A store beside its model."""

    writer: StoreWriter

    def __init__(self) -> None:
        super().__init__()
        self.shards = [next(_fresh), next(_fresh)]
        self.cursors: dict[int, Cursor | None] = dict.fromkeys(self.shards)
        self.spaces: dict[tuple[int, bytes], dict[bytes, bytes]] = {}
        self.rankings: dict[tuple[int, bytes], dict[bytes, int]] = {}
        self.offset = 0

    def expected(self, shard: int, guess: str) -> Cursor | None:
        return {"right": self.cursors[shard], "stale": at(-1), "none": None}[guess]

    @rule(which=_shards, guess=_cursors, stay=st.booleans(), changes=_changes)
    def write(self, which: int, guess: str, changes: list[Change | Rank], *, stay: bool) -> None:
        shard = self.shards[which]
        before, expected = self.cursors[shard], self.expected(shard, guess)
        self.offset += 1
        new = before if stay and before else at(self.offset)
        if expected != before:
            with pytest.raises(PositionConflictError):
                self.writer.write(shard, expected, new, changes)
            return
        self.writer.write(shard, expected, new, changes)
        self.cursors[shard] = new
        for change in changes:
            if isinstance(change, Rank):
                _set(self.rankings.setdefault((shard, change.ranking), {}), change.member, change.score)
            else:
                _set(self.spaces.setdefault((shard, change.space), {}), change.key, change.value)

    @rule(which=_shards, guess=_cursors, name=_names, limit=_limits)
    def drop(self, which: int, guess: str, name: bytes, limit: int) -> None:
        shard = self.shards[which]
        expected = self.expected(shard, guess)
        if expected != self.cursors[shard]:
            with pytest.raises(PositionConflictError):
                self.writer.drop(shard, expected, name, limit)
            return
        space, ranking = (kept.setdefault((shard, name), {}) for kept in (self.spaces, self.rankings))
        done = self.writer.drop(shard, expected, name, limit)
        left, ranked = dict(self.writer.scan(shard, name)), dict(self.writer.ranked(shard, name, 1 << 20))
        assert left.items() <= space.items()
        assert ranked.items() <= ranking.items()
        assert len(left) + len(ranked) == max(0, len(space) + len(ranking) - limit)
        assert done == (not left and not ranked)
        self.spaces[shard, name], self.rankings[shard, name] = left, ranked

    @rule(which=_shards, name=_names, keys=st.lists(_keys, max_size=6))
    def read(self, which: int, name: bytes, keys: list[bytes]) -> None:
        shard = self.shards[which]
        space, ranking = self.spaces.get((shard, name), {}), self.rankings.get((shard, name), {})
        assert self.writer.read(shard, name, keys) == [space.get(key) for key in keys]
        assert self.writer.ranks(shard, name, keys) == [ranking.get(key) for key in keys]
        assert (self.writer.count(shard, name), self.writer.size(shard, name)) == (len(space), len(ranking))

    @rule(which=_shards, name=_names, limit=_limits, bounds=st.tuples(st.integers(0, 12), st.integers(0, 12)))
    def ask_order(self, which: int, name: bytes, limit: int, bounds: tuple[int, int]) -> None:
        shard, (least, most) = self.shards[which], bounds
        ranking = self.rankings.get((shard, name), {})
        within = [(member, score) for member, score in _ordered(ranking) if least <= score <= most]
        assert self.writer.ranked(shard, name, limit, least=least, most=most) == within[:limit]

    @invariant()
    def the_whole_store_equals_the_model(self) -> None:
        expected = {}
        for shard in self.shards:
            spaces = {name: kept for (of, name), kept in self.spaces.items() if of == shard and kept}
            rankings = {name: _ordered(kept) for (of, name), kept in self.rankings.items() if of == shard and kept}
            if self.cursors[shard] or spaces or rankings:
                expected[shard] = ShardContents(self.cursors[shard], spaces, rankings)
        assert contents(self.writer, self.shards) == expected


def _set(kept: dict[bytes, Any], key: bytes, value: object) -> None:
    if value is None:
        kept.pop(key, None)
    else:
        kept[key] = value


def _ordered(ranking: dict[bytes, int]) -> list[tuple[bytes, int]]:
    return sorted(ranking.items(), key=lambda item: (item[1], item[0]))


def test_any_sequence_of_steps_equals_dictionaries(writer: StoreWriter) -> None:
    machine = type("MachineOfThisStore", (Machine,), {"writer": writer})
    run_state_machine_as_test(machine, settings=settings(deadline=None, max_examples=50, stateful_step_count=20))
