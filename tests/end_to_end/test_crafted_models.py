"""A bundle that means harm is refused by every worker, with what is wrong, and nothing else notices."""

from tests.end_to_end import broken
from tests.end_to_end.client import recommend
from tests.end_to_end.crafted import CRAFTED
from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.models import publish_recommender


def test_every_crafted_bundle_is_refused_while_the_old_version_serves_from_the_same_processes(
    installation: Installation,
) -> None:
    with Node(installation.having(trial_timeout_s="20", trial_memory_bytes=str(1 << 30))) as node:
        publish_recommender(installation, "shop", 1)
        installation.wait_for_state("shop", 1, {"READY"}, node.workers)
        pids = installation.pids()
        for version, (what, craft, kind) in enumerate(CRAFTED, 2):
            broken.announce_damaged(installation, "shop", version, before=craft)
            found = installation.wait_for_state("shop", version, {"REJECTED", "FAILED"}, node.workers)
            for instance in found.values():
                assert (instance["state"], instance["error"]["kind"]) == ("REJECTED", kind), (what, instance)
            assert recommend(node.address, "shop", "ann").version == 1, what
        assert installation.pids() == pids
