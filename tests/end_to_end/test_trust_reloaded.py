"""Trusted keys that change under a running node: no restart, in serving and in near-line workers."""

from pathlib import Path

import grpc
import pytest
import yaml

from tests.end_to_end.client import recommend
from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.models import publish_recommender
from tests.end_to_end.trusting import Guarded, guarded
from tests.end_to_end.waiting import wait_until

pytestmark = pytest.mark.timeout(300)

TEAM = {"team": ["shop", "other"]}


@pytest.fixture
def embedded(tmp_path: Path) -> Guarded:
    return guarded(Installation(tmp_path, {"transport": "native"}))


def believing_herself(scene: Guarded) -> Installation:
    """Eve's, who trusts her own key, and so says what the nodes will refuse."""
    path = scene.installation.folder / "eve.yaml"
    key = {"name": "eve", "public_key": str(scene.folder / "eve.pub"), "models": ["*"]}
    path.write_text(yaml.safe_dump({"keys": [key]}))
    return scene.by("eve").having(trusted_keys=str(path))


def unavailable(node: Node, model: str) -> bool:
    try:
        recommend(node.address, model, "ann")
    except grpc.RpcError as error:
        return error.code() is grpc.StatusCode.UNAVAILABLE
    return False


def test_a_key_counts_as_soon_as_it_is_trusted_and_no_longer_than_it_is(embedded: Guarded) -> None:
    team, eve = embedded.by("team", trusting=False), believing_herself(embedded)
    embedded.trust(**TEAM)
    with Node(embedded.nodes(require_bundle_signature="true")) as node:
        workers = embedded.installation.pids()
        publish_recommender(team, "shop", 1)
        team.wait_for_state("shop", 1, {"READY"}, node.workers)
        publish_recommender(eve, "evil", 1)
        wait_until(lambda: len(team.status().faults()) == node.workers, "every worker refuses her")

        embedded.trust(**TEAM, eve=["evil"])
        team.wait_for_state("evil", 1, {"READY"}, node.workers)
        assert recommend(node.address, "evil", "ann").version == 1
        wait_until(lambda: team.status().faults() == [], "what was refused is forgotten")
        wait_until(
            lambda: {len(worker.trusted_keys) for worker in team.status().presences()} == {2},
            "every worker says whom it trusts",
        )

        embedded.trust(**TEAM)
        team.wait_for_state("evil", 1, {"UNLOADED"}, node.workers)
        wait_until(lambda: unavailable(node, "evil"), "nothing of hers serves")
        wait_until(lambda: len(team.status().faults()) == node.workers, "every worker refuses her once more")
        assert recommend(node.address, "shop", "ann").version == 1

        embedded.write("keys: [")
        refused = wait_until(lambda: node.events("trust.refused"), "it is said")
        assert {(line["level"], line["action"]) for line in refused} == {("error", "the former keys stay")}
        wait_until(lambda: node.metric("nearline_trust_refused_total") == node.workers, "it is counted")
        publish_recommender(team, "shop", 2)
        team.wait_for_state("shop", 2, {"READY"}, node.workers)
        assert embedded.installation.pids() == workers, "nothing was restarted"
