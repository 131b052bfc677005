"""The policy and the table of states together, driven through any history: what always holds."""

from collections.abc import Callable

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from protos.judging import Outcome
from protos.ledger import World
from protos.records import MILLION, ModelRecord, Share
from protos.traffic import prepared, released
from serving.models.lifecycle import WORKING, State, check_transition
from serving.models.policy import Plan, Seen, Serving, audience, decide, loaded_ahead
from serving.models.room import replaced
from tests.builders.ledger import Entry, announcement, retirement, rollout

LABELS = {"region": "eu"}
WHO = audience(LABELS)
NEXT = {
    State.ANNOUNCED: State.FETCHING,
    State.FETCHING: State.VERIFYING,
    State.VERIFYING: State.LOADING,
    State.LOADING: State.WARMING,
    State.WARMING: State.READY,
}


class OneModel(RuleBasedStateMachine):
    """Does what the deployer does, step by step and without threads."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.states: dict[int, State] = {}
        self.tried: set[int] = set()
        self.alone: set[int] = set()
        self.said: list[Entry] = []
        self.digests: dict[int, str] = {}
        self.serving: tuple[Share, ...] = ()
        self.recommending: tuple[Share, ...] = ()
        self.filled = False

    @property
    def record(self) -> ModelRecord:
        return self.world.models.get("m", ModelRecord())

    def enter(self, version: int, state: State) -> None:
        if version in self.states:
            check_transition(self.states[version], state)
        self.states[version] = state
        if state is State.READY:
            self.tried.discard(version)
        if state not in WORKING or state is State.ANNOUNCED:
            self.alone.discard(version)

    def plan(self, again: int | None = None) -> Plan:
        seen = {
            v: Seen(state, v == again, v in self.tried, alone=v in self.alone, void=self.is_void(v))
            for v, state in self.states.items()
        }
        return decide(self.record, [WHO], seen, {WHO: Serving(self.serving, self.recommending)}, lambda _: self.filled)

    def is_void(self, version: int) -> bool:
        known = self.record.versions.get(version)
        return known is None or known.digest != self.digests.get(version, known.digest)

    def decide(self, again: int | None = None) -> None:
        plan = self.plan(again)
        could = bool([s for s in self.serving if s.version not in self.record.retired and not self.is_void(s.version)])
        assert plan.serving[WHO].infer or not could or self.alone, "something served, and nothing replaces it"
        for version in plan.give_up:
            self.enter(version, State.SUPERSEDED)
        for version in plan.unload:
            assert version not in {share.version for share in (*plan.serving[WHO].infer, *plan.serving[WHO].recommend)}
            self.enter(version, State.DRAINING)
        assert bool(plan.serving[WHO].recommend) == bool(plan.serving[WHO].infer)
        self.serving, self.recommending = plan.serving[WHO].infer, plan.serving[WHO].recommend
        for version in plan.load:
            self.enter(version, State.ANNOUNCED)
            digest = self.record.versions[version].digest
            if self.digests.get(version) != digest:
                self.tried.discard(version)
            self.digests[version] = digest

    def say(self, entry: Entry) -> None:
        if self.world.apply(self.world.position, *entry).outcome is Outcome.ACCEPTED:
            self.said.append(entry)
            self.decide()

    @rule(filled=st.booleans())
    def fill(self, *, filled: bool) -> None:
        self.filled = filled
        self.decide()

    @rule(version=st.integers(1, 4), held=st.booleans(), content=st.sampled_from("ab"))
    def announce(self, version: int, *, held: bool, content: str) -> None:
        self.say(announcement("m", version, held=held, content=f"{version} {content}"))

    @precondition(lambda self: self.said)
    @rule(data=st.data())
    def others_are_trusted(self, data: st.DataObject) -> None:
        """Some of what was said counts no longer."""
        kept = data.draw(st.lists(st.booleans(), min_size=len(self.said), max_size=len(self.said)))
        said, self.said, self.world = self.said, [], World()
        for entry, counts in zip(said, kept, strict=True):
            if counts and self.world.apply(self.world.position, *entry).outcome is Outcome.ACCEPTED:
                self.said.append(entry)
        self.decide()

    @rule(data=st.data())
    def roll_out(self, data: st.DataObject) -> None:
        left = sorted(set(self.record.versions) - self.record.retired)
        named = data.draw(st.lists(st.sampled_from(left), max_size=3, unique=True)) if left else []
        first = data.draw(st.integers(0, MILLION))
        weights = {1: [MILLION], 2: [first, MILLION - first], 3: [first, MILLION - first, 0]}
        lines = [dict(zip(named, weights[len(named)], strict=True))] if named else []
        scope = data.draw(st.sampled_from([{}, LABELS, {"region": "us"}]))
        self.say(rollout("m", self.record.epoch + 1, *lines, scopes=[scope]))

    @rule(version=st.integers(1, 4))
    def retire(self, version: int) -> None:
        self.say(retirement("m", version))

    def some(self, data: st.DataObject, fits: Callable[[State], bool]) -> int | None:
        versions = sorted(v for v, state in self.states.items() if fits(state))
        return data.draw(st.sampled_from(versions)) if versions else None

    @precondition(lambda self: self.states)
    @rule(data=st.data())
    def load_moves_on(self, data: st.DataObject) -> None:
        version = self.some(data, lambda state: state in WORKING)
        if version is not None:
            self.enter(version, NEXT[self.states[version]])
            self.decide()

    @precondition(lambda self: self.states)
    @rule(data=st.data())
    def there_is_no_memory_for_both(self, data: st.DataObject) -> None:
        version = self.some(data, lambda state: state in WORKING)
        loaded = {v: 1 for v, state in self.states.items() if state is State.READY}
        if version is not None and (others := replaced(self.record, [WHO], version, loaded)):
            self.alone.add(version)
            self.decide()
            assert all(self.states[other] is State.DRAINING for other in others)

    @precondition(lambda self: self.states)
    @rule(data=st.data(), end=st.sampled_from([State.FAILED, State.REJECTED]))
    def load_fails(self, data: st.DataObject, end: State) -> None:
        version = self.some(data, lambda state: state in WORKING)
        if version is not None:
            self.enter(version, end)
            self.tried.add(version)
            self.decide()

    @precondition(lambda self: self.states)
    @rule(data=st.data())
    def retry_is_due(self, data: st.DataObject) -> None:
        version = self.some(data, lambda state: state in {State.FAILED, State.REJECTED})
        if version is not None:
            self.decide(again=version)

    @precondition(lambda self: self.states)
    @rule(data=st.data())
    def last_lease_ends(self, data: st.DataObject) -> None:
        version = self.some(data, lambda state: state is State.DRAINING)
        if version is not None:
            self.enter(version, State.UNLOADED)
            self.decide()

    @invariant()
    def what_serves_is_ready_and_not_retired(self) -> None:
        for share in (*self.serving, *self.recommending):
            assert self.states[share.version] is State.READY
            assert share.version not in self.record.retired
            assert not self.is_void(share.version)

    @invariant()
    def shares_are_the_whole(self) -> None:
        for shares in (self.serving, self.recommending):
            assert sum(share.weight_ppm for share in shares) == (MILLION if shares else 0)
            assert all(share.weight_ppm >= 0 for share in shares)

    @invariant()
    def deciding_again_changes_nothing(self) -> None:
        plan = self.plan()
        assert (plan.load, plan.give_up, plan.unload) == ((), {}, ())
        assert (plan.serving[WHO].infer, plan.serving[WHO].recommend) == (self.serving, self.recommending)

    @invariant()
    def whatever_is_ready_serves_something(self) -> None:
        ahead = loaded_ahead(self.record, [WHO])  # it may serve elsewhere already, and not here
        ready = [v for v in released(self.record) if self.states.get(v) is State.READY and not self.is_void(v)]
        if any(version != ahead for version in ready):
            assert self.serving or self.alone

    def teardown(self) -> None:
        """When every load succeeds and every version is filled, what is wanted serves, and nothing else is loaded."""
        self.filled = True
        self.decide()
        for _ in range(60):
            working = [v for v, state in self.states.items() if state in WORKING or state is State.DRAINING]
            if not working:
                break
            state = self.states[working[0]]
            self.enter(working[0], NEXT.get(state, State.UNLOADED))
            self.decide()
        ready = {v for v, state in self.states.items() if state is State.READY}
        ahead = prepared(self.record)
        assert ready - {ahead} == {share.version for share in self.serving} - {ahead}


OneModel.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestOneModel = OneModel.TestCase
