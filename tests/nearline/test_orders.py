"""Recompute and erase, as they arrive on `commands`."""

import time
from pathlib import Path

from protos.commands import Erase, Recompute
from protos.dead_letter import DeadLetter
from protos.records import BulkLoad
from serving.models.loaded import LoadedModel
from serving.models.places import BULK, DUE, ERASED, PREDICTIONS, bulk_space, key_of
from serving.nearline.forgetting import Budget
from serving.nearline.urgency import MISSED, band_of
from serving.recipes.features import Count, LastN
from serving.store.port import Change, Rank
from tests.builders.bundles import again, load_recommender
from tests.builders.buses import TOPICS, everything
from tests.builders.graphs import N, recommender
from tests.builders.nearline import COMMANDS, KEEP, Rig, Setup, rig, shard_of
from tests.builders.truth import check, check_drained
from tests.builders.waiting import wait_until
from tests.store.stores import Store


def erase(r: Rig, entity: str) -> None:
    """Later than everything that was appended, by the bus's clock."""
    now_ms = time.time_ns() // 1_000_000
    wait_until(lambda: time.time_ns() // 1_000_000 > now_ms)
    r.order(Erase(entity.encode()).encode())
    now_ms = time.time_ns() // 1_000_000
    wait_until(lambda: time.time_ns() // 1_000_000 > now_ms)


def traces(r: Rig, entity: str) -> list[object]:
    """Where the store still names an entity, beside that it was erased."""
    key = entity.encode()
    spaces = [place for place in r.contents() if place[2] == key and place[1] != ERASED]
    rankings = [(s, name) for (s, name), members in r.rankings().items() if name != ERASED and key in dict(members)]
    return [*spaces, *rankings]


def test_what_was_missed_is_marked_before_everything_else_and_computed(store: Store, model: LoadedModel) -> None:
    with rig(store) as r:
        r.happen("a", "item-1", 1)
        r.catch_up()
        r.serve(model)
        r.settle()
        r.consumer._owned.shards[shard_of("a")].write([Change(PREDICTIONS + key_of(model), b"a", None)])
        r.slow(model)  # so that the mark can be seen
        r.order(Recompute(b"a", "m", 1).encode())
        r.step()
        (rank,) = r.due(model).values()
        assert (band_of(rank), r.made.counted("recomputes")) == (MISSED, 1)
        r.settle()
        assert r.items(model, "a") == ["item-2", "item-3", "item-0"]


def test_what_had_expired_is_computed_as_of_now_and_what_was_missing_as_of_the_newest_event(
    store: Store, tmp_path: Path
) -> None:
    lately = load_recommender(
        tmp_path, recommender(page=True), recipe={"history": LastN(n=N), "page": Count(window="1m")}
    )
    with rig(store) as r:
        r.serve(lately)
        r.settle()
        r.happen("a", "item-10", 1)  # in 1970
        r.settle()
        then = r.items(lately, "a")
        r.order(Recompute(b"a", "m", 1).encode())
        r.settle()
        assert r.items(lately, "a") == then
        r.order(Recompute(b"a", "m", 1, expired=True).encode())
        r.settle()
        assert "item-2" in (then or []), "the count was 1, and item-1 speaks for item-2"
        assert "item-1" in (r.items(lately, "a") or []), "the count is 0 now, and item-0 speaks for item-1"


def test_a_recompute_of_what_is_not_computed_here_asks_for_nothing(
    store: Store, model: LoadedModel, second: LoadedModel
) -> None:
    with rig(store) as r:
        r.put("m", (), model, second)
        r.serve(model, second, shares={1: 1_000_000, 2: 0})
        r.happen("a", "item-1")
        r.settle()
        before = r.contents()
        orders = [Recompute(b"a", "m", 9), Recompute(b"a", "other", 1), Recompute(b"stranger", "m", 1)]
        r.order(*(order.encode() for order in [*orders, Recompute(b"a", "m", 2)]))
        r.settle()
        assert (r.contents(), r.made.counted("recomputes")) == (before, 0)


def test_what_is_no_command_becomes_a_dead_letter_and_others_go_on(store: Store, model: LoadedModel) -> None:
    with rig(store) as r:
        r.serve(model)
        r.happen("a", "item-1")
        r.settle()
        r.order((b"a", b"\xc1"), (b"a", None), (b"a", b"\x80"), Recompute(b"a", "m", 1).encode())
        r.settle()
        assert (r.made.counted("dead_letters"), r.made.counted("recomputes")) == (3, 1)
    letters = [DeadLetter.decode(record.value or b"") for record in everything(store.folder, TOPICS.dead_letters.name)]
    assert {(letter.topic, letter.partition) for letter in letters} == {(COMMANDS, shard_of("a"))}
    assert [letter.offset for letter in letters] == [0, 1, 2]


def test_an_erasure_takes_everything_of_an_entity_and_of_nobody_else(
    store: Store, model: LoadedModel, second: LoadedModel
) -> None:
    slow = again(second, "slow")
    with rig(store) as r:
        r.serve(model)
        r.serve(slow)
        r.slow(slow)
        for entity in ("a", "b"):
            r.happen(entity, "item-1", 1)
        while not r.caught_up():
            r.step()
        shard = shard_of("a")
        owned = r.consumer._owned.shards[shard]
        bulk = BulkLoad(1, 1, "a" * 64, "file:///x", "0" * 64, size=1, rows=1)
        owned.write([Change(bulk_space("m", bulk), b"a", b"loaded"), Rank(DUE + key_of(slow), b"a", 5)])
        assert len(traces(r, "a")) >= 4
        erase(r, "a")
        r.settle()
        assert traces(r, "a") == []
        assert r.document("a") is None
        assert r.items(model, "b") is not None
        assert not any(name[:1] == BULK for name in r.looking.spaces(shard))
        assert r.made.counted("erasures") == 1
        check_drained(r, [model, slow])


def test_what_happens_after_an_erasure_starts_anew(store: Store, model: LoadedModel) -> None:
    with rig(store) as r:
        r.serve(model)
        r.happen("a", "item-1", 1)
        r.settle()
        erase(r, "a")
        r.happen("a", "item-5", 2)
        r.settle()
        assert r.items(model, "a") == ["item-6", "item-7", "item-0"]
        assert r.active("a")
        check_drained(r, [model])


def test_a_replay_of_what_happened_before_an_erasure_brings_nothing_back(store: Store, model: LoadedModel) -> None:
    with rig(store) as r:
        r.serve(model)
        r.happen("a", "item-1", 1)
        r.happen("a", "item-2", 2)
        r.settle()
        erase(r, "a")
        r.happen("a", "item-5", 3)
        r.settle()
        offered = r.items(model, "a")
        r.move("a", -3)
        r.happen("b", "item-1")
        r.settle()
        assert (r.items(model, "a"), offered) == (offered, ["item-6", "item-7", "item-0"])


def test_events_that_wait_while_their_entity_is_erased_are_not_applied(store: Store, model: LoadedModel) -> None:
    with rig(store) as r:
        r.serve(model)
        r.settle()
        r.happen("a", "item-1", 1)
        erase(r, "a")
        r.settle()
        assert (traces(r, "a"), r.made.counted("events")) == ([], 0)


def test_an_order_to_recompute_what_the_same_batch_erases_asks_for_nothing(store: Store, model: LoadedModel) -> None:
    with rig(store) as r:
        r.serve(model)
        r.happen("a", "item-1", 1)
        r.settle()
        recompute = Recompute(b"a", "m", 1).encode()
        r.order(recompute, Erase(b"a").encode(), recompute)
        r.settle()
        assert (traces(r, "a"), r.made.counted("recomputes")) == ([], 0)


def test_who_was_erased_is_forgotten_once_nothing_from_before_can_be_replayed(store: Store, model: LoadedModel) -> None:
    with rig(store, Setup(budget=Budget(KEEP.bytes_, KEEP.age_s, erased_s=0, inactive_s=KEEP.inactive_s))) as r:
        r.serve(model)
        r.happen("a", "item-1", 1)
        r.settle()
        erase(r, "a")
        r.catch_up()
        r.made.forgetting._next_at = 0.0

        def forgotten() -> bool:
            r.step()
            return ERASED not in r.looking.rankings(shard_of("a")) and ERASED not in r.looking.spaces(shard_of("a"))

        wait_until(forgotten)
        check(r, [model])


def test_an_erased_entity_that_comes_back_is_backfilled_for_a_new_version(
    store: Store, model: LoadedModel, second: LoadedModel
) -> None:
    with rig(store) as r:
        r.serve(model)
        r.happen("a", "item-1", 1)
        r.settle()
        erase(r, "a")
        r.happen("a", "item-5", 2)
        r.settle()
        r.serve(second)
        r.settle()
        assert r.items(second, "a") == ["item-7", "item-9", "item-0"]
