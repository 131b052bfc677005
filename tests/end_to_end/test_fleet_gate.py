"""A version is loaded on every node before it serves on any."""

from tests.end_to_end import broken
from tests.end_to_end.client import recommend
from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.models import publish_recommender, write_recommender
from tests.end_to_end.waiting import wait_until


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
    wait_until(lambda: recommend(node.address, "shop", "ann").version == 2, "answers of version 2")
    wait_until(  # each worker hears of the rollout by itself
        lambda: {i["held"] for i in installation.instances("shop", 2).values()} == {False},
        "version 2 is held nowhere",
    )


def test_a_version_that_serves_in_one_region_is_kept_warm_for_the_next(installation: Installation) -> None:
    with Node(installation.having(labels='{"region":"us"}')) as node:
        publish_recommender(installation, "shop", 1)
        installation.wait_for_state("shop", 1, {"READY"}, node.workers)
        publish_recommender(installation, "shop", 2, held=True)
        installation.ask("rollout", "shop", "--version", "2", "--when-ready", "all", "--scope", "region=us")
        wait_until(lambda: recommend(node.address, "shop", "ann").version == 2, "answers of version 2")
        graph, items = write_recommender(installation.folder, 3)
        installation.ask("publish", "shop", str(graph), "--items", str(items), "--hold", "--wait")

        installation.ask("rollout", "shop", "--version", "3", "--scope", "region=eu")

        held = {name: i["held"] for name, i in installation.instances("shop", 3).items() if i["role"] == "SERVING"}
        assert held == {"one/serving-0": True, "one/serving-1": True}
        installation.ask("rollout", "shop", "--version", "3", "--when-ready", "all", "--scope", "region=us")
        wait_until(lambda: recommend(node.address, "shop", "ann").version == 3, "answers of version 3")


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
