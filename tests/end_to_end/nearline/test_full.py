"""A store that is full."""

from pathlib import Path
from random import Random

from tests.end_to_end.client import NEARLINE, recommend
from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.nearline.conftest import SMALL
from tests.end_to_end.nearline.outcome import assert_undisturbed, looking, wait_settled
from tests.end_to_end.nearline.shop import MODEL, publish_shop
from tests.end_to_end.nearline.streams import entities, events
from tests.end_to_end.waiting import wait_until


def test_a_full_store_refuses_batches_answers_on_and_goes_on_where_it_was_once_it_may_grow(
    tmp_path: Path, rng: Random
) -> None:
    shop = Installation(tmp_path, {**SMALL, "store_bytes": str(1 << 20)})
    publish_shop(shop)
    settings = shop.settings()
    with looking(settings) as look:
        with Node(shop) as node:
            look.append(settings.topics.events.name, events(rng, 300, ["e0", "e1"]))
            wait_settled(settings)
            # Everybody is somebody else.
            everybody = [record for entity in entities(4000) for record in events(rng, 1, [entity])]
            look.append(settings.topics.events.name, everybody)
            wait_until(lambda: node.events("store.away"), "the store is full")
            refused = node.events("store.away")[-1]
            assert f"of {1 << 20} bytes" in refused["error"]
            before = look.consumed()
            assert before < 4300
            assert recommend(node.address, MODEL, "e0").source == NEARLINE
            wait_until(lambda: node.metric("nearline_store_failures_total") >= 3, "it tries again and again")
            assert look.consumed() - before < 4 * 20, "no more than what other shards had room for"
            assert recommend(node.address, MODEL, "e1").source == NEARLINE
        with Node(shop.having(store_bytes=str(1 << 26))):
            wait_settled(settings)
    assert_undisturbed(shop)
