"""Processes that die, and a bus that is away."""

import os
import signal
from pathlib import Path

import grpc
import pytest

from tests.end_to_end.client import NEARLINE, Load, recommend, wait_for_version
from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.models import publish_recommender
from tests.end_to_end.waiting import wait_until
from tests.servers.kafka.broker import KafkaBroker
from tests.supervisor.watching import running


@pytest.mark.parametrize("worker", ["serving-0", "nearline-0"])
def test_a_worker_killed_under_load_comes_back_ready_while_the_others_serve(
    installation: Installation, node: Node, worker: str
) -> None:
    publish_recommender(installation, "shop", 1)
    installation.wait_for_state("shop", 1, {"READY"}, node.workers)
    with Load(node.address, "shop", threads=8) as load:
        load.wait_for(1, 100)
        killed = installation.pids()[worker]
        os.kill(killed, signal.SIGKILL)
        load.wait_for(1, 500)
        wait_until(lambda: installation.pids().get(worker, killed) != killed, "the worker runs again")
        installation.wait_for_state("shop", 1, {"READY"}, node.workers)
        load.wait_for(1, 100)

    assert load.mixed == []
    assert len(load.failures) <= 8, "only what was in flight on the killed worker's connections"
    publish_recommender(installation, "shop", 2)
    installation.wait_for_state("shop", 2, {"READY"}, node.workers)


def test_a_stopped_node_ends_what_it_began_and_leaves(installation: Installation, node: Node) -> None:
    publish_recommender(installation, "shop", 1)
    installation.wait_for_state("shop", 1, {"READY"}, node.workers)
    pids = set(installation.pids().values())
    with Load(node.address, "shop") as load:
        load.wait_for(1, 100)
        code = node.stop()

    assert code == 0
    # grpcio cancels what it has read but not yet handed over when it shuts down; later requests find nobody.
    assert {error.code() for error in load.failures} <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    assert sum(error.code() is grpc.StatusCode.CANCELLED for error in load.failures) <= 4, "one a connection at most"
    assert not any(running(pid) for pid in pids)
    assert installation.ask("nodes")["workers"] == []


def test_events_that_came_while_no_node_ran_are_computed_when_one_comes(installation: Installation) -> None:
    publish_recommender(installation, "shop", 1)
    with Node(installation):
        installation.ask("event", "ann", "item=v1-3")
    installation.ask("event", "bob", "item=v1-4")
    with Node(installation) as node:
        for entity in ("bob", "ann"):  # the first node may have left before it came to ann's, and shards have no order
            wait_until(lambda: recommend(node.address, "shop", entity).source == NEARLINE, f"{entity}'s prediction")  # noqa: B023


@pytest.mark.kafka
def test_a_node_that_starts_without_its_broker_serves_from_its_disk_and_says_so(tmp_path: Path) -> None:
    with KafkaBroker() as broker:
        installation = Installation(tmp_path, {"bus": f"kafka://{broker.address}"})
        publish_recommender(installation, "shop", 1)
        node = Node(installation)
        with node:
            assert recommend(node.address, "shop", "ann").version == 1
        broker.stop()
        with Node(installation) as node:
            assert recommend(node.address, "shop", "ann").version == 1
            everybody = {"serving-0", "serving-1", "nearline-0"}
            wait_until(lambda: {line["worker"] for line in node.events("bus.away")} == everybody, "each says so")
            broker.start()
            publish_recommender(installation, "shop", 2)
            installation.wait_for_state("shop", 2, {"READY"}, node.workers)
            wait_for_version(node.address, "shop", 2)
