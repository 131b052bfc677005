"""When a new version answers `Recommend`, what is left of the one before, and predictions by schedule."""

import time

import pytest

from serving.recipes.event import encode_event
from tests.end_to_end.client import NEARLINE, recommend
from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.nearline.slow import publish_version
from tests.end_to_end.waiting import wait_until

MODEL = "shop"
ENTITIES = [f"e{number}" for number in range(400)]
WAIT_S = 3


@pytest.fixture
def shop(installation: Installation) -> Installation:
    return installation.having(event_partitions="4", workers="1", former_bytes="0")


def test_a_version_that_fills_slowly_takes_over_at_once_or_after_the_longest_wait_as_its_manifest_says(
    shop: Installation,
) -> None:
    with Node(shop) as node:
        publish_version(shop, MODEL, 1)
        shop.wait_for_state(MODEL, 1, {"READY"}, 2)
        _happen(shop, ENTITIES)
        wait_until(lambda: all(_hit(node, entity, 1) for entity in ENTITIES[::40]), "predictions of version 1")

        publish_version(shop, MODEL, 2, slow=True, switch="on-load")
        wait_until(lambda: _version(node) == 2, "version 2 answers")
        wait_until(lambda: _left(shop, 2) > 0, "it is far from filled")

        said = time.monotonic()
        publish_version(shop, MODEL, 3, slow=True, switch_wait=f"{WAIT_S}s")
        wait_until(lambda: _version(node) == 3, "version 3 answers")
        assert time.monotonic() - said >= WAIT_S
        wait_until(lambda: _left(shop, 3) > 0, "it did not wait for all")


def test_predictions_of_a_former_version_go_when_their_budget_is_spent_and_a_way_back_computes_them_anew(
    shop: Installation,
) -> None:
    with Node(shop) as node:
        publish_version(shop, MODEL, 1)
        shop.wait_for_state(MODEL, 1, {"READY"}, 2)
        _happen(shop, ENTITIES)
        wait_until(lambda: all(_hit(node, entity, 1) for entity in ENTITIES[::40]), "predictions of version 1")
        publish_version(shop, MODEL, 2)
        wait_until(lambda: all(_hit(node, entity, 2) for entity in ENTITIES[::40]), "predictions of version 2")
        wait_until(lambda: _dropped(node) == {(1, shard) for shard in range(4)}, "version 1 is dropped in all shards")
        shop.ask("rollback", MODEL)
        wait_until(lambda: all(_hit(node, entity, 1) for entity in ENTITIES[::40]), "version 1, filled anew")


def test_predictions_are_computed_by_schedule_though_nothing_happens(shop: Installation) -> None:
    with Node(shop) as node:
        publish_version(shop, MODEL, 1, every="1s")
        shop.wait_for_state(MODEL, 1, {"READY"}, 2)
        _happen(shop, ["ann"])
        wait_until(lambda: _hit(node, "ann", 1), "a prediction")
        for _ in range(2):
            before = recommend(node.address, MODEL, "ann").computed_at_ms
            wait_until(lambda: recommend(node.address, MODEL, "ann").computed_at_ms > before, "a later one")  # noqa: B023
            assert recommend(node.address, MODEL, "ann").source == NEARLINE


def _happen(shop: Installation, entities: list[str]) -> None:
    bus = shop.bus()
    records = [encode_event(entity, {"item": f"v{version}-3"}) for entity in entities for version in (1, 2, 3)]
    bus.append_many(shop.settings().topics.events.name, records)
    bus.close()


def _hit(node: Node, entity: str, version: int) -> bool:
    answer = recommend(node.address, MODEL, entity)
    return (answer.source, answer.version) == (NEARLINE, version)


def _version(node: Node) -> int:
    """Asked for nobody, so that nothing slow is run online."""
    return recommend(node.address, MODEL, "nobody").version


def _left(shop: Installation, version: int) -> int:
    return sum(instance["backfill"]["left"] for instance in shop.instances(MODEL, version).values())


def _dropped(node: Node) -> set[tuple[int, int]]:
    return {(line["version"], line["shard"]) for line in node.events("predictions.dropped")}
