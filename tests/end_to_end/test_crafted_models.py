"""A bundle that means harm is refused by every worker, with what is wrong, and nothing else notices."""

import pytest

from tests.end_to_end import broken
from tests.end_to_end.client import recommend
from tests.end_to_end.crafted import CRAFTED
from tests.end_to_end.installation import Installation, Node


@pytest.mark.timeout(900)
def test_every_crafted_bundle_is_refused_while_the_old_version_serves_from_the_same_processes(
    installation: Installation,
) -> None:
    with Node(installation.having(trial_timeout_s="20", trial_memory_bytes=str(1 << 30))) as node:
        models = {f"m{number}": case for number, case in enumerate(CRAFTED)}
        for model in models:
            broken.announce_damaged(installation, model, 1)
        for model in models:
            installation.wait_for_state(model, 1, {"READY"}, node.workers)
        pids = installation.pids()
        for model, (_, craft, _) in models.items():
            broken.announce_damaged(installation, model, 2, before=craft)
        for model, (what, _, kind) in models.items():
            found = installation.wait_for_state(model, 2, {"REJECTED", "FAILED"}, node.workers)
            for instance in found.values():
                assert (instance["state"], instance["error"]["kind"]) == ("REJECTED", kind), (what, instance)
            assert recommend(node.address, model, "ann").version == 1, what
        assert installation.pids() == pids
