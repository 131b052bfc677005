"""Publish → announce → every worker swaps → answers online and near-line."""

from pathlib import Path

import pytest

from protos.nearline.v1 import recommender_pb2
from tests.end_to_end.client import FALLBACK, NEARLINE, ONLINE, Load, recommend, wait_for_version
from tests.end_to_end.conftest import CLUSTER, EMBEDDED, GRPCIO, ON_SERVERS
from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.models import items_of, publish_recommender, write_recommender
from tests.end_to_end.waiting import wait_until


def test_a_model_published_with_one_line_is_ready_in_every_worker(
    installation: Installation, node: Node, tmp_path: Path
) -> None:
    graph, items = write_recommender(tmp_path, 1)

    published = installation.ask("publish", "shop", str(graph), "--items", str(items), "--wait")

    assert published["version"] == 1
    assert {i["worker"]: i["state"] for i in published["instances"]} == {
        "serving-0": "READY",
        "serving-1": "READY",
        "nearline-0": "READY",
    }
    assert recommend(node.address, "shop", "nobody").version == 1


@pytest.mark.parametrize("installation", [EMBEDDED, pytest.param(CLUSTER, marks=ON_SERVERS), GRPCIO], indirect=True)
def test_answers_come_from_the_best_source_there_is(installation: Installation, node: Node) -> None:
    publish_recommender(installation, "shop", 1)
    installation.wait_for_state("shop", 1, {"READY"}, node.workers)

    unknown = recommend(node.address, "shop", "ann")
    assert (unknown.source, list(unknown.item_ids)) == (FALLBACK, items_of(1)[:5])

    installation.ask("event", "ann", "item=v1-3")
    hit = wait_until(lambda: _from(NEARLINE, node, "ann"), "a prediction made near-line")
    assert (hit.version, len(hit.item_ids)) == (1, 5)

    installation.ask("event", "ann", "item=v2-4")  # version 1 does not know it
    wait_until(lambda: _newer(node, "ann", hit.computed_at_ms), "a prediction after that event")
    publish_recommender(installation, "shop", 2)
    installation.wait_for_state("shop", 2, {"READY"}, node.workers)
    filled = wait_until(lambda: _of(2, node, "ann"), "an answer of the new version")
    assert filled.source == NEARLINE, "it takes over when the predictions of active entities are there"
    wait_for_version(node.address, "shop", 2)  # of the other worker, too
    older = recommend(node.address, "shop", "ann", max_age_ms=1)
    assert (older.source, older.version, list(older.item_ids)) == (ONLINE, 2, list(filled.item_ids))
    installation.ask("event", "ann", "item=v2-5")
    newer = wait_until(lambda: _newer(node, "ann", filled.computed_at_ms), "a prediction after the next event")
    assert (newer.source, newer.version) == (NEARLINE, 2)


def test_a_new_version_takes_over_under_load_without_a_failed_or_mixed_answer(
    installation: Installation, node: Node
) -> None:
    publish_recommender(installation, "shop", 1)
    installation.wait_for_state("shop", 1, {"READY"}, node.workers)
    with Load(node.address, "shop") as load:
        load.wait_for(1, 100)
        for version in (2, 3, 4):
            publish_recommender(installation, "shop", version)
            load.wait_for(version, 100)
    assert load.failures == []
    assert load.mixed == []


def test_a_node_that_comes_later_converges_to_the_newest_version(installation: Installation) -> None:
    for version in (1, 2, 3):
        publish_recommender(installation, "shop", version)

    with Node(installation) as node:
        wait_for_version(node.address, "shop", 3)
        fetched = {line["version"] for line in node.events("instance.state") if line["state"] == "FETCHING"}

    assert fetched == {3}


def _of(version: int, node: Node, entity: str) -> recommender_pb2.RecommendResponse | None:
    answer = recommend(node.address, "shop", entity)
    return answer if answer.version == version else None


def _newer(node: Node, entity: str, than_ms: int) -> recommender_pb2.RecommendResponse | None:
    answer = recommend(node.address, "shop", entity)
    return answer if answer.computed_at_ms > than_ms and answer.source == NEARLINE else None


def _from(source: int, node: Node, entity: str):  # type: ignore[no-untyped-def]  # noqa: ANN202 - the response, or None
    answer = recommend(node.address, "shop", entity)
    return answer if answer.source == source else None
