"""The bulkhead: a version that is too slow for its share of a step is computed beside, and holds up nobody."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from protos.commands import Erase
from serving.bundles.session import ModelSession
from serving.models.loaded import LoadedModel
from serving.nearline.compute import Limits
from serving.nearline.urgency import EVENT, band_of
from tests.builders.bundles import again, load_recommender
from tests.builders.graphs import recommender
from tests.builders.nearline import LATENESS_S, Rig, Setup, rig, shard_of
from tests.builders.truth import check, check_drained
from tests.builders.waiting import wait_until
from tests.recommend.sessions import HeldSession
from tests.store.stores import Store

ENTITIES = [f"e{number}" for number in range(30)]
HERE = [f"e{number}" for number in range(400) if shard_of(f"e{number}") == 0]


@contextmanager
def held(store: Store, model: LoadedModel) -> Iterator[tuple[Rig, LoadedModel, LoadedModel, HeldSession]]:
    """A fast model, and a slow one whose runs wait for a gate: `fast` 1 and `slow` 1."""
    session = HeldSession(model.session)
    fast, slow = again(model, "fast"), again(model, "slow", session=cast("ModelSession", session))
    with rig(store) as r:
        r.serve(fast)
        r.serve(slow)
        r.slow(slow)
        try:
            yield r, fast, slow, session
        finally:
            session.gate.set()


def begun(r: Rig, session: HeldSession) -> None:
    """Step until a chunk is under way."""

    def under_way() -> bool:
        r.step()
        return bool(session.runs)

    wait_until(under_way)


def test_a_slow_version_holds_up_neither_the_position_nor_another(store: Store, model: LoadedModel) -> None:
    with held(store, model) as (r, fast, slow, session):
        for entity in ENTITIES:
            r.happen(entity, "item-1")
        r.catch_up()
        begun(r, session)
        for entity in ENTITIES:
            r.happen(entity, "item-5")
        r.catch_up()
        assert all(r.items(fast, entity) == ["item-2", "item-6", "item-3"] for entity in ENTITIES)
        assert set(r.due(slow)) == set(ENTITIES), "what it owes is marked"
        assert {band_of(rank) for rank in r.due(slow).values()} == {EVENT + 5}
        session.gate.set()
        r.settle()
        assert all(r.items(slow, entity) == ["item-2", "item-6", "item-3"] for entity in ENTITIES)
        check_drained(r, [fast, slow])


def test_a_version_has_one_chunk_under_way(store: Store, model: LoadedModel) -> None:
    with held(store, model) as (r, _fast, _slow, session):
        for entity in ENTITIES:
            r.happen(entity, "item-1")
        r.catch_up()
        begun(r, session)
        for _ in range(5):
            r.step()
        assert len(session.runs) == 1


def test_what_changed_while_it_was_computed_is_not_overwritten(store: Store, model: LoadedModel) -> None:
    with held(store, model) as (r, fast, slow, session):
        r.happen("a", "item-1", 1)
        r.happen("b", "item-1", 1)
        begun(r, session)
        r.happen("a", "item-5", 2)
        r.catch_up()
        session.gate.set()
        wait_until(lambda: all(future.done() for _, future in r.made.lanes._busy.values()))
        r.step()
        assert r.items(slow, "a") != ["item-2", "item-3", "item-0"]
        check(r, [fast, slow])
        r.settle()
        assert r.items(slow, "a") == ["item-2", "item-6", "item-3"]
        assert r.items(slow, "b") == ["item-2", "item-3", "item-0"]


def test_what_was_erased_while_it_was_computed_does_not_come_back(store: Store, model: LoadedModel) -> None:
    with held(store, model) as (r, fast, slow, session):
        r.happen("a", "item-1", 1)
        begun(r, session)
        r.order(Erase(b"a").encode())
        r.catch_up()
        session.gate.set()
        r.settle()
        assert (r.items(slow, "a"), r.due(slow)) == (None, {})
        check_drained(r, [fast, slow])


def test_a_shard_that_went_meanwhile_gets_nothing_of_a_chunk(store: Store, model: LoadedModel) -> None:
    with held(store, model) as (r, fast, slow, session):
        r.happen("a", "item-1", 1)
        begun(r, session)
        r.anew()  # it leaves the group, and gets the shards again
        r.step()
        r.move("a", -1)  # and somebody else had them in between
        r.happen("a", "item-5", 2)
        session.gate.set()
        r.settle()
        assert r.items(slow, "a") == ["item-2", "item-6", "item-3"]
        check_drained(r, [fast, slow])


def test_a_chunk_keeps_its_version_until_it_is_over(store: Store, model: LoadedModel) -> None:
    with held(store, model) as (r, fast, slow, session):
        r.happen("a", "item-1", 1)
        begun(r, session)
        idle: list[str] = []
        r.put("slow", (), fast)
        slow.drain(lambda: idle.append("unloaded"))
        r.step()
        assert idle == []
        session.gate.set()
        wait_until(lambda: idle)
        r.settle()
        check(r, [fast, slow])


def test_of_a_version_that_is_not_known_yet_one_row_is_run_in_line(store: Store, model: LoadedModel) -> None:
    session = HeldSession(model.session)
    session.gate.set()
    new = again(model, session=cast("ModelSession", session))
    with rig(store) as r:
        r.serve(new)
        for entity in HERE[:40]:
            r.happen(entity, "item-1")
        r.settle()
        assert session.runs[0] == 1
        assert sum(session.runs) == 40


def test_a_graph_that_takes_long_is_found_out_by_running_it(store: Store, model: LoadedModel, tmp_path: Path) -> None:
    looping = load_recommender(tmp_path / "looping", recommender(rounds=20_000), "looping", 1)
    with rig(store, Setup(Limits(LATENESS_S, share_s=0.001))) as r:
        fast = again(model, "fast")
        r.serve(fast)
        r.serve(looping)
        r.happen(HERE[0], "item-1")
        r.settle()  # one run in line, to know how long one takes
        for entity in HERE[:40]:
            r.happen(entity, "item-5")
        r.catch_up()
        assert (r.made.counted("predictions_marked") or 0) >= 40
        r.settle()
        assert r.items(looping, HERE[7]) == ["item-6", "item-7", "item-0"]
        check_drained(r, [fast, looping])
