"""A version is loaded on every node before it serves on any."""

import uuid
from pathlib import Path

import pytest

from serving.artifacts.store import local_path
from tests.end_to_end import broken
from tests.end_to_end.client import recommend, wait_for_version
from tests.end_to_end.conftest import ON_THE_CLUSTER
from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.models import publish_recommender, write_recommender
from tests.end_to_end.waiting import wait_until


@ON_THE_CLUSTER
def test_a_held_version_is_warm_everywhere_and_serves_once_it_is_rolled_out(
    installation: Installation, node: Node
) -> None:
    publish_recommender(installation, "shop", 1)
    installation.wait_for_state("shop", 1, {"READY"}, node.workers)
    graph, items = write_recommender(installation.folder, 2)

    said = installation.ask("publish", "shop", str(graph), "--items", str(items), "--hold", "--wait")

    assert {(i["state"], i["held"]) for i in said["instances"]} == {("READY", True)}
    assert recommend(node.address, "shop", "ann").version == 1
    installation.ask("rollout", "shop", "--version", "2", "--when-ready", "all")
    wait_for_version(node.address, "shop", 2)
    wait_until(  # each worker hears of the rollout by itself
        lambda: {i["held"] for i in installation.instances("shop", 2).values()} == {False},
        "version 2 is held nowhere",
    )


@ON_THE_CLUSTER
def test_a_version_that_serves_in_one_region_is_kept_warm_for_the_next(installation: Installation) -> None:
    with Node(installation.having(labels='{"region":"us"}')) as node:
        publish_recommender(installation, "shop", 1)
        installation.wait_for_state("shop", 1, {"READY"}, node.workers)
        publish_recommender(installation, "shop", 2, held=True)
        installation.ask("rollout", "shop", "--version", "2", "--when-ready", "all", "--scope", "region=us")
        wait_for_version(node.address, "shop", 2)
        graph, items = write_recommender(installation.folder, 3)
        installation.ask("publish", "shop", str(graph), "--items", str(items), "--hold", "--wait")

        installation.ask("rollout", "shop", "--version", "3", "--scope", "region=eu")

        held = {name: i["held"] for name, i in installation.instances("shop", 3).items() if i["role"] == "SERVING"}
        assert held == {"one/serving-0": True, "one/serving-1": True}
        installation.ask("rollout", "shop", "--version", "3", "--when-ready", "all", "--scope", "region=us")
        wait_for_version(node.address, "shop", 3)


@ON_THE_CLUSTER
def test_a_version_that_a_node_cannot_load_serves_nowhere(installation: Installation, node: Node) -> None:
    publish_recommender(installation, "shop", 1)
    installation.wait_for_state("shop", 1, {"READY"}, node.workers)
    broken.announce_damaged(installation, "shop", 2, before=broken.unknown_operator, held=True)

    done = installation.run("rollout", "shop", "--version", "2", "--when-ready", "50%")

    assert done.returncode == 5, done.stderr
    assert "LOAD" in done.stderr
    assert "expected READY in 2 of 3 live instances, got 0; nothing was changed" in done.stderr
    assert recommend(node.address, "shop", "ann").version == 1
    assert installation.ask("status", "shop")["faults"] == []


@pytest.mark.kafka
def test_what_one_of_two_nodes_cannot_load_serves_on_neither_unless_half_of_the_fleet_is_said_to_be_enough(
    tmp_path: Path, kafka_servers: str
) -> None:
    """Each node has a store and a data directory of its own; the small one takes no bundle as large as version 2."""
    names = {"bus": f"kafka://{kafka_servers}", "topic_prefix": f"t{uuid.uuid4().hex[:10]}.", "workers": "1"}
    fleet = Installation(tmp_path, names)
    first = publish_recommender(fleet, "shop", 1)
    size = sum(path.stat().st_size for path in local_path(first.uri).iterdir())
    small = fleet.having(max_bundle_bytes=str(size + 100))
    with Node(fleet, "large") as large, Node(small, "small") as little:
        fleet.wait_for_state("shop", 1, {"READY"}, 4)
        graph, items = write_recommender(tmp_path, 2)
        items.write_text(items.read_text().replace("v2-", "v2-a-longer-name-"))
        fleet.ask("publish", "shop", str(graph), "--items", str(items), "--hold")

        refused = fleet.run("rollout", "shop", "--version", "2", "--when-ready", "all")

        assert refused.returncode == 5, refused.stderr
        assert "expected READY in 4 of 4 live instances, got 2; nothing was changed" in refused.stderr
        failures = [line for line in refused.stderr.splitlines() if "REJECTED" in line]
        assert len(failures) == 2
        assert all("small" in line and "POLICY: bundle: expected at most" in line for line in failures), refused.stderr
        assert "large" not in refused.stderr
        assert [recommend(node.address, "shop", "ann").version for node in (large, little)] == [1, 1]

        fleet.ask("rollout", "shop", "--version", "2", "--when-ready", "50%")

        wait_for_version(large.address, "shop", 2)
        assert recommend(little.address, "shop", "ann").version == 1, "the small one goes on as it can"
