"""Blocked items are in no answer, wherever it comes from, on any node, a second later."""

import time
from contextlib import ExitStack

from publisher import blocking
from publisher.ledger import Ledger
from tests.end_to_end.client import FALLBACK, NEARLINE, ONLINE, recommend
from tests.end_to_end.conftest import ON_THE_LAPTOP
from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.models import items_of, publish_recommender
from tests.end_to_end.waiting import wait_until

WITHIN_S = 1.0


@ON_THE_LAPTOP
def test_a_blocked_item_is_in_no_answer_a_second_later_and_comes_back_when_lifted(installation: Installation) -> None:
    with ExitStack() as running:
        # A data directory is one node's, and an embedded bus is one data directory's.
        names = ["one", "two"] if "bus" in installation.overrides else ["one"]
        nodes = [running.enter_context(Node(installation, name)) for name in names]
        publish_recommender(installation, "shop", 1)
        installation.wait_for_state("shop", 1, {"READY"}, sum(node.workers for node in nodes))
        installation.ask("event", "ann", "item=v1-3")
        wait_until(lambda: all(_source(node, "ann") == NEARLINE for node in nodes), "a prediction")
        hit, popular = list(recommend(nodes[0].address, "shop", "ann").item_ids), items_of(1)[0]

        said = block(installation, hit[0], popular)

        wait_until(lambda: all(_hidden(node, hit[0], popular) for node in nodes), "hidden")
        assert time.monotonic() - said < WITHIN_S
        left = [item for item in hit if item not in {hit[0], popular}]
        for node in nodes:
            cached = recommend(node.address, "shop", "ann")
            assert (cached.source, list(cached.item_ids)) == (NEARLINE, left)
            online = recommend(node.address, "shop", "ann", max_age_ms=1)
            assert (online.source, list(online.item_ids)) == (ONLINE, left)
            assert recommend(node.address, "shop", "nobody").source == FALLBACK

        installation.ask("block", "shop", hit[0], popular, "--lift")
        wait_until(lambda: all(_items(node, "ann") == hit for node in nodes), "seen again")


def block(installation: Installation, *items: str) -> float:
    """From this process, since starting the program takes longer than what is measured; return when it was said."""
    settings = installation.settings()
    bus = installation.bus()
    try:
        said = time.monotonic()
        blocking.block(Ledger(bus, settings.topics), "shop", items)
        return said
    finally:
        bus.close()


def _items(node: Node, entity: str) -> list[str]:
    return list(recommend(node.address, "shop", entity).item_ids)


def _source(node: Node, entity: str) -> int:
    return recommend(node.address, "shop", entity).source


def _hidden(node: Node, hit: str, popular: str) -> bool:
    """In both serving workers: requests on several connections, cached, online and fallback."""
    answers = [recommend(node.address, "shop", entity) for entity in ("ann", "nobody") for _ in range(6)]
    return not any({hit, popular} & set(answer.item_ids) for answer in answers)
