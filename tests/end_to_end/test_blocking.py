"""Blocked items are in no answer, wherever it comes from, on any node, a second later."""

from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime

from publisher import blocking
from publisher.ledger import Ledger
from tests.end_to_end.client import CONNECTIONS, FALLBACK, NEARLINE, ONLINE, everywhere, recommend
from tests.end_to_end.conftest import ON_THE_LAPTOP
from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.models import items_of, publish_recommender
from tests.end_to_end.waiting import wait_until

WITHIN_S, ATTEMPTS = 1.0, 8


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

        block(installation, hit[0], popular)

        wait_until(lambda: all(_hidden(node, hit[0], popular) for node in nodes), "hidden")
        left = [item for item in hit if item not in {hit[0], popular}]
        for node in nodes:
            cached = recommend(node.address, "shop", "ann")
            assert (cached.source, list(cached.item_ids)) == (NEARLINE, left)
            online = recommend(node.address, "shop", "ann", max_age_ms=1)
            assert (online.source, list(online.item_ids)) == (ONLINE, left)
            assert recommend(node.address, "shop", "nobody").source == FALLBACK

        installation.ask("block", "shop", hit[0], popular, "--lift")
        wait_until(
            lambda: all(everywhere(lambda: _items(node, "ann") == hit) for node in nodes),  # noqa: B023
            "seen again",
        )

        # Other work on the machine may delay any of them, but not every one.
        delays = (_delay(installation, nodes, items_of(1)[:count]) for count in range(1, ATTEMPTS + 1))
        assert any(delay < WITHIN_S for delay in delays)


def _delay(installation: Installation, nodes: Sequence[Node], items: Sequence[str]) -> float:
    """Block these, one more than are blocked already; return how long after that every serving worker had gone over."""
    said = datetime.now(UTC)
    block(installation, *items)

    def gone_over() -> list[datetime] | None:
        lines = [line for node in nodes for line in node.events("model.swap") if line["worker"].startswith("serving-")]
        found = {
            (line["node"], line["worker"]): datetime.fromisoformat(line["timestamp"])
            for line in lines
            if line["blocked"] == len(items)
        }
        times = [time for time in found.values() if time > said]
        return times if len(times) == 2 * len(nodes) else None

    return (max(wait_until(gone_over, f"{len(items)} blocked in every worker")) - said).total_seconds()


def block(installation: Installation, *items: str) -> None:
    """From this process: starting the program takes longer than what is measured."""
    settings = installation.settings()
    bus = installation.bus()
    try:
        blocking.block(Ledger(bus, settings.topics), "shop", items)
    finally:
        bus.close()


def _items(node: Node, entity: str) -> list[str]:
    return list(recommend(node.address, "shop", entity).item_ids)


def _source(node: Node, entity: str) -> int:
    return recommend(node.address, "shop", entity).source


def _hidden(node: Node, hit: str, popular: str) -> bool:
    """In both serving workers: requests on several connections, cached, online and fallback."""
    answers = [recommend(node.address, "shop", entity) for entity in ("ann", "nobody") for _ in range(CONNECTIONS)]
    return not any({hit, popular} & set(answer.item_ids) for answer in answers)
