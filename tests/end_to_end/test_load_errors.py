"""Bundles that cannot work: every worker says so, per model instance, and what served goes on serving."""

import urllib.request
from typing import Any

import pytest

from protos.nearline.v1 import model_status_pb2, model_status_pb2_grpc, status_pb2
from tests.end_to_end import broken
from tests.end_to_end.client import Load, channel_to, recommend, wait_for_version
from tests.end_to_end.conftest import ON_THE_LAPTOP
from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.models import publish_recommender
from tests.end_to_end.waiting import wait_until

DAMAGES: list[tuple[int, dict[str, broken.Damage], str, str]] = [
    (2, {"before": broken.corrupt_graph}, "REJECTED", "LOAD"),
    (3, {"before": broken.unknown_operator}, "REJECTED", "LOAD"),
    (4, {"after": broken.other_bytes}, "REJECTED", "DIGEST"),
    (5, {"after": broken.truncated}, "FAILED", "FETCH"),
    (6, {"after": broken.missing}, "FAILED", "FETCH"),
]


@ON_THE_LAPTOP
def test_every_kind_of_broken_bundle_is_an_error_of_each_instance_and_disturbs_nothing(
    installation: Installation,
) -> None:
    installation = installation.having(retry_first_s="60")  # a retry would pass through other states
    with Node(installation) as node:
        publish_recommender(installation, "shop", 1)
        publish_recommender(installation, "other", 1)
        installation.wait_for_state("shop", 1, {"READY"}, node.workers)
        with Load(node.address, "shop") as load:
            load.wait_for(1, 50)
            for version, damage, _, _ in DAMAGES:
                before, after = damage.get("before", broken.nothing), damage.get("after", broken.nothing)
                broken.announce_damaged(installation, "shop", version, before=before, after=after)
                installation.wait_for_state("shop", version, {"FAILED", "REJECTED"}, node.workers)
            load.wait_for(1, 50)

        assert (load.failures, load.mixed, set(load.versions)) == ([], [], {1})
        assert recommend(node.address, "other", "ann").version == 1
        for version, _, state, kind in DAMAGES:
            for instance in installation.instances("shop", version).values():
                assert (instance["state"], instance["error"]["kind"]) == (state, kind), instance
                assert instance["error"]["message"]
        _shown_to_people(installation)
        _answered_by_model_status(node)
        wait_until(lambda: _counted_by_prometheus(node), "load errors counted")


@ON_THE_LAPTOP
def test_a_failed_version_is_fetched_again_by_itself_and_a_refused_one_when_told(
    installation: Installation,
) -> None:
    installation = installation.having(retry_first_s="3")
    with Node(installation) as node:
        _fails_and_recovers(installation, node)


def _fails_and_recovers(installation: Installation, node: Node) -> None:
    publish_recommender(installation, "shop", 1)
    announced = broken.announce_damaged(installation, "shop", 2, after=broken.hidden)
    installation.wait_for_state("shop", 2, {"FAILED"}, node.workers)

    broken.show_again(announced)
    installation.wait_for_state("shop", 2, {"READY"}, node.workers)

    broken.announce_damaged(installation, "shop", 3, before=broken.unknown_operator)
    before = installation.wait_for_state("shop", 3, {"FAILED", "REJECTED"}, node.workers)
    installation.ask("retry", "shop")

    def tried_again() -> bool:
        after = installation.instances("shop", 3)
        return all(
            after[worker]["state"] in {"FAILED", "REJECTED"} and after[worker]["since_ms"] > before[worker]["since_ms"]
            for worker in before
        )

    wait_until(tried_again, "version 3 tried once more by every worker")
    wait_for_version(node.address, "shop", 2)


@ON_THE_LAPTOP
@pytest.mark.parametrize("wait", [True, False])
def test_publishing_something_that_cannot_load_fails_before_anything_is_announced(
    installation: Installation, wait: bool
) -> None:
    path = installation.folder / "broken.onnx"
    path.write_bytes(b"no model at all")

    done = installation.run("publish", "shop", str(path), *(["--wait"] if wait else []))

    assert done.returncode == 2
    assert "expected an ONNX file" in done.stderr
    assert "Traceback" not in done.stderr
    assert installation.ask("status")["instances"] == []


def _shown_to_people(installation: Installation) -> None:
    table = installation.run("status", "shop").stdout
    for word in ("model", "version", "node", "worker", "state", "since", "error", "DIGEST", "serving-1", "nearline-0"):
        assert word in table


def _answered_by_model_status(node: Node) -> None:
    with channel_to(node.address) as channel:
        stub: Any = model_status_pb2_grpc.ModelStatusStub(channel)

        def look() -> set[tuple[str, str]] | None:
            request = model_status_pb2.ModelStatusRequest()
            instances = [i for i in stub.Get(request, timeout=5).instances if i.version == 4 and i.model == "shop"]
            found = {(i.worker, status_pb2.ErrorKind.Name(i.error.kind)) for i in instances}
            return found if len(found) == node.workers else None

        found = wait_until(look, "ModelStatus tells of every instance")
    assert found == {("serving-0", "DIGEST"), ("serving-1", "DIGEST"), ("nearline-0", "DIGEST")}


def _counted_by_prometheus(node: Node) -> bool:
    with urllib.request.urlopen(node.info["metrics"], timeout=10) as response:  # noqa: S310 - our own node, http
        text = response.read().decode()
    wanted = [
        f'nearline_load_errors_total{{kind="DIGEST",model="shop",version="4",worker="{worker}"}} 1.0'
        for worker in ("serving-0", "serving-1", "nearline-0")
    ]
    return all(line in text for line in wanted)
