"""The fold as an algebra: it never raises, and the same records give the same world."""

from hypothesis import given
from hypothesis import strategies as st

from protos.judging import Outcome
from protos.ledger import World
from protos.records import MILLION
from tests.builders.ledger import Entry, announcement, retirement, retrial, rollout

MODELS = st.sampled_from(["a", "b"])
VERSIONS = st.integers(1, 3)
EPOCHS = st.integers(0, 4)


@st.composite
def rollouts(draw: st.DrawFn) -> Entry:
    versions = draw(st.lists(VERSIONS, min_size=1, max_size=3, unique=True))
    first = draw(st.integers(0, MILLION))
    weights = [first, *([MILLION - first] + [0] * (len(versions) - 2) if len(versions) > 1 else [])]
    scope = draw(st.dictionaries(st.sampled_from(["region", "tier"]), st.sampled_from(["x", "y"])))
    return rollout(draw(MODELS), draw(EPOCHS), dict(zip(versions, weights, strict=True)), scopes=[scope])


VALID: st.SearchStrategy[Entry] = st.one_of(
    st.builds(announcement, MODELS, VERSIONS, content=st.sampled_from(["", "x"]), held=st.booleans()),
    rollouts(),
    st.builds(retirement, MODELS, VERSIONS),
    st.builds(retrial, MODELS, VERSIONS, EPOCHS),
)


@st.composite
def mutated(draw: st.DrawFn) -> tuple[bytes | None, bytes | None]:
    """A valid record with a piece replaced."""
    key, value = draw(VALID)
    start = draw(st.integers(0, len(value)))
    end = draw(st.integers(start, min(len(value), start + 4)))
    return key, value[:start] + draw(st.binary(max_size=4)) + value[end:]


ANY = st.one_of(VALID, mutated(), st.tuples(st.none() | st.binary(max_size=8), st.none() | st.binary(max_size=64)))


@given(st.lists(ANY, max_size=12))
def test_no_record_raises_and_only_accepted_ones_change_the_world(
    entries: list[tuple[bytes | None, bytes | None]],
) -> None:
    world = World()
    for offset, (key, value) in enumerate(entries):
        before = {name: record.snapshot() for name, record in world.models.items()}
        verdict = world.apply(offset, key, value)
        assert world.position == offset + 1
        assert (world.models != before) is (verdict.outcome is Outcome.ACCEPTED)
        assert bool(verdict.message) is (verdict.outcome in {Outcome.LOST, Outcome.UNUSABLE})
        assert bool(verdict.kind) is bool(verdict.message)


@given(st.lists(VALID, max_size=12))
def test_replaying_from_the_start_gives_the_same_world(entries: list[Entry]) -> None:
    once, again = World(), World()
    verdicts = [once.apply(offset, *entry) for offset, entry in enumerate(entries)]
    assert [again.apply(offset, *entry) for offset, entry in enumerate(entries)] == verdicts
    assert again == once


@given(st.lists(VALID, max_size=12))
def test_folding_only_what_was_accepted_gives_the_same_models(entries: list[Entry]) -> None:
    whole, checkpoint = World(), World()
    for offset, entry in enumerate(entries):
        if whole.apply(offset, *entry).outcome is Outcome.ACCEPTED:
            assert checkpoint.apply(offset, *entry).outcome is Outcome.ACCEPTED
    assert checkpoint.models == whole.models


@given(st.lists(VALID, max_size=12))
def test_folding_what_was_accepted_twice_changes_nothing_the_second_time(entries: list[Entry]) -> None:
    world = World()
    verdicts = [(entry, world.apply(offset, *entry)) for offset, entry in enumerate(entries)]
    accepted = [entry for entry, verdict in verdicts if verdict.outcome is Outcome.ACCEPTED]
    before = {name: record.snapshot() for name, record in world.models.items()}
    for offset, entry in enumerate(accepted, len(entries)):
        assert world.apply(offset, *entry).outcome is not Outcome.ACCEPTED
    assert world.models == before
