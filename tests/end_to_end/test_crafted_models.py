"""A bundle that means harm is refused by every worker, with what is wrong, and nothing else notices."""

import os
import platform
import shutil
import signal
from pathlib import Path

import onnx
import pytest

from serving.artifacts.store import local_path
from tests.end_to_end import broken
from tests.end_to_end.client import recommend
from tests.end_to_end.conftest import ON_THE_LAPTOP
from tests.end_to_end.crafted import CRAFTED, deep_tree, ended_by_a_division, ended_by_its_depth, linked
from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.models import publish_recommender
from tests.end_to_end.waiting import wait_until
from tests.supervisor.watching import children, wait_for_other

CASES: list[tuple[str, dict[str, broken.Damage], str]] = [
    *((what, {"before": craft}, kind) for what, craft, kind in CRAFTED),
    ("a link in the artifact store", {"after": linked}, "POLICY"),
]


@pytest.mark.timeout(900)
@ON_THE_LAPTOP
def test_every_crafted_bundle_is_refused_while_the_old_version_serves_from_the_same_processes(
    installation: Installation,
) -> None:
    with Node(installation.having(trial_timeout_s="20", trial_memory_bytes=str(1 << 30))) as node:
        models = {f"m{number}": case for number, case in enumerate(CASES)}
        for model in models:
            broken.announce_damaged(installation, model, 1)
        for model in models:
            installation.wait_for_state(model, 1, {"READY"}, node.workers)
        pids = installation.pids()
        for model, (_, damage, _) in models.items():
            before, after = damage.get("before", broken.nothing), damage.get("after", broken.nothing)
            broken.announce_damaged(installation, model, 2, before=before, after=after)
        for model, (what, _, kind) in models.items():
            found = installation.wait_for_state(model, 2, {"REJECTED", "FAILED"}, node.workers)
            for instance in found.values():
                assert (instance["state"], instance["error"]["kind"]) == ("REJECTED", kind), (what, instance)
                if kind in {"POLICY", "MANIFEST"}:
                    assert "expected" in instance["error"]["message"], (what, instance)
            assert recommend(node.address, model, "ann").version == 1, what
        assert installation.pids() == pids


@pytest.mark.timeout(180)
def test_a_graph_that_crashed_the_runtime_once_is_not_tried_again_by_any_later_process_until_told(
    tmp_path: Path,
) -> None:
    installation = Installation(tmp_path, {"workers": "1", "retry_first_s": "60"})
    with Node(installation) as node:
        publish_recommender(installation, "shop", 1)
        announced = broken.announce_damaged(installation, "shop", 2, before=deep_tree)
        assert _errors(installation) == {"CRASH: trial: the process died by SIGSEGV"}
        workers = children(node.pid)
        assert installation.pids() == workers

        # From now on whoever tried it once more could not even get it.
        shutil.rmtree(local_path(announced.uri))
        shutil.rmtree(installation.settings().data_dir / "bundles" / announced.digest)

        os.kill(workers["serving-0"], signal.SIGKILL)
        wait_for_other(node.pid, "serving-0", workers["serving-0"])
        wait_until(lambda: set(installation.pids().values()).isdisjoint({workers["serving-0"]}), "it has come back")
        assert _errors(installation) == {"CRASH: trial: the process died by SIGSEGV"}
        assert recommend(node.address, "shop", "ann").version == 1

    with Node(installation) as node:
        assert _errors(installation) == {"CRASH: trial: the process died by SIGSEGV"}
        assert recommend(node.address, "shop", "ann").version == 1
        installation.ask("retry", "shop")
        wait_until(lambda: all(error.startswith("FETCH") for error in _errors(installation)), "it is tried once more")
        assert recommend(node.address, "shop", "ann").version == 1


@pytest.mark.skipif(platform.machine() not in {"x86_64", "AMD64"}, reason="other processors bear that division")
def test_the_publisher_refuses_a_graph_that_crashes_the_runtime_while_it_runs(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    onnx.save(ended_by_a_division(), tmp_path / "model.onnx")

    done = installation.run("publish", "shop", str(tmp_path / "model.onnx"))

    assert done.returncode == 6, done.stderr
    assert "trial: the process died by SIGFPE" in done.stderr
    assert "Traceback" not in done.stderr
    assert installation.ask("models")["models"] == []


def test_the_publisher_outlives_a_graph_that_crashes_the_runtime_while_it_is_opened(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    onnx.save(ended_by_its_depth(), tmp_path / "model.onnx")

    done = installation.run("publish", "shop", str(tmp_path / "model.onnx"))

    assert done.returncode == 1, done.stderr
    assert done.stderr.strip() == "error: CRASH: shop: trial: the process died by SIGSEGV"
    assert installation.ask("models")["models"] == []


def _errors(installation: Installation) -> set[str]:
    """Of version 2, in both workers."""
    found = installation.wait_for_state("shop", 2, {"REJECTED", "FAILED"}, 2)
    return {f"{one['error']['kind']}: {one['error']['message']}" for one in found.values()}
