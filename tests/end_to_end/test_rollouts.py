"""Rollouts, seen by clients: pins, sticky shares, scopes, the way back."""

from tests.end_to_end import broken
from tests.end_to_end.client import recommend, wait_for_version
from tests.end_to_end.conftest import ON_THE_LAPTOP
from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.models import publish_recommender, write_recommender
from tests.end_to_end.waiting import wait_until

ENTITIES = [f"e{n}" for n in range(200)]


@ON_THE_LAPTOP
def test_a_pin_overrides_the_newest_and_unpin_brings_it_back(installation: Installation, node: Node) -> None:
    _publish(installation, node, 1, 2)

    installation.ask("rollout", "shop", "--version", "1")
    wait_for_version(node.address, "shop", 1)
    publish_recommender(installation, "shop", 3)
    installation.wait_for_state("shop", 3, {"SUPERSEDED"}, node.workers)
    assert recommend(node.address, "shop", "ann").version == 1

    installation.ask("unpin", "shop")
    wait_for_version(node.address, "shop", 3)


@ON_THE_LAPTOP
def test_a_share_is_sticky_by_entity_and_widening_it_takes_nobody_away(installation: Installation, node: Node) -> None:
    _publish(installation, node, 1)
    publish_recommender(installation, "shop", 2, held=True)
    assert installation.wait_for_state("shop", 2, {"READY"}, node.workers)
    assert _served_by(node, 2) == set()

    installation.ask("rollout", "shop", "--share", "2=10%")
    installation.wait_for_state("shop", 2, {"READY"}, node.workers)
    few = wait_until(lambda: _served_by(node, 2), "entities that version 2 serves")
    assert few == _served_by(node, 2)
    assert 5 <= len(few) <= 40

    installation.ask("rollout", "shop", "--share", "2=50%")
    more = wait_until(lambda: (now := _served_by(node, 2)) - few and now, "more entities")
    assert few < more
    assert 70 <= len(more) <= 130


@ON_THE_LAPTOP
def test_a_scope_holds_only_on_nodes_with_its_labels(installation: Installation) -> None:
    with Node(installation.having(labels='{"region":"eu"}')) as node:
        _publish(installation, node, 1, 2)

        installation.ask("rollout", "shop", "--version", "1", "--scope", "region=us")
        installation.ask("publish", *_third(installation))
        wait_for_version(node.address, "shop", 3)

        installation.ask("rollout", "shop", "--version", "1", "--scope", "region=eu")
        wait_for_version(node.address, "shop", 1)


@ON_THE_LAPTOP
def test_a_rollback_pins_the_newest_lower_version_that_has_been_ready(installation: Installation, node: Node) -> None:
    _publish(installation, node, 1)
    broken.announce_damaged(installation, "shop", 2, before=broken.unknown_operator)
    installation.wait_for_state("shop", 2, {"REJECTED"}, node.workers)
    _publish(installation, node, 3)

    said = installation.ask("rollback", "shop")

    assert said["lines"] == [{"scope": {}, "shares": {"1": 1.0}}]
    wait_for_version(node.address, "shop", 1)


@ON_THE_LAPTOP
def test_a_retired_version_is_unloaded_and_the_one_below_serves(installation: Installation, node: Node) -> None:
    _publish(installation, node, 1, 2)

    installation.ask("retire", "shop", "2")

    wait_for_version(node.address, "shop", 1)
    installation.wait_for_state("shop", 2, {"UNLOADED"}, node.workers)
    done = installation.run("rollout", "shop", "--version", "2")
    assert (done.returncode, "retired" in done.stderr) == (2, True)


@ON_THE_LAPTOP
def test_one_bad_model_does_not_delay_another(installation: Installation, node: Node) -> None:
    for version in (1, 2, 3):
        broken.announce_damaged(installation, "bad", version, before=broken.unknown_operator)
    _publish(installation, node, 1)
    assert recommend(node.address, "shop", "ann").version == 1


def _publish(installation: Installation, node: Node, *versions: int) -> None:
    for version in versions:
        publish_recommender(installation, "shop", version)
        installation.wait_for_state("shop", version, {"READY"}, node.workers)


def _third(installation: Installation) -> list[str]:
    graph, items = write_recommender(installation.folder, 3)
    return ["shop", str(graph), "--items", str(items)]


def _version(node: Node, entity: str) -> int:
    return recommend(node.address, "shop", entity).version


def _served_by(node: Node, version: int) -> set[str]:
    return {entity for entity in ENTITIES if _version(node, entity) == version}
