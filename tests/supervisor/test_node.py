"""A whole node: workers that end are started again, and nothing is left when it ends."""

import http.client
import json
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from protos.nearline.v1 import status_pb2
from protos.topics import presence_key
from tests.builders.fleet import beating
from tests.end_to_end.client import recommend
from tests.end_to_end.installation import PROGRAM, Installation
from tests.end_to_end.models import publish_recommender
from tests.end_to_end.waiting import wait_until
from tests.supervisor.watching import WatchedNode, children, killed_at_last, running, wait_for_other, wait_gone


def get(node: WatchedNode, path: str) -> tuple[int, str]:
    """Status and body of an HTTP endpoint."""
    connection = http.client.HTTPConnection(urlsplit(node.info["metrics"]).netloc, timeout=60)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def gives_way(pid: int) -> list[int]:
    """The niceness of a process, and that of its session where the kernel looks at that first."""
    session = Path(f"/proc/{pid}/autogroup")
    return [psutil.Process(pid).nice(), *([int(session.read_text().split()[-1])] if session.exists() else [])]


@pytest.mark.parametrize("worker", ["serving-0", "nearline-0"])
def test_a_killed_worker_is_started_again_and_taken_back_meanwhile(installation: Installation, worker: str) -> None:
    with WatchedNode(installation) as node:
        before = children(node.pid)
        assert set(before) == {"serving-0", "nearline-0"}
        ways = zip(gives_way(before["nearline-0"]), gives_way(before["serving-0"]), strict=True)
        assert all(nearline > serving for nearline, serving in ways)
        wait_until(lambda: len(installation.ask("nodes")["workers"]) == 2, "both workers are known")

        os.kill(before[worker], signal.SIGKILL)
        after = wait_for_other(node.pid, worker, before[worker])

        (died,) = node.events("worker.died")
        assert (died["name"], died["ended"]) == (worker, "by SIGKILL")
        cleared = wait_until(lambda: node.events("status.cleared"), "stale presence tombstoned")
        assert cleared[-1]["records"] >= 1
        wait_until(lambda: get(node, "/readyz")[0] == 200, "ready again")
        other = next(name for name in before if name != worker)
        assert children(node.pid) == {worker: after, other: before[other]}


def test_a_worker_that_dies_again_and_again_is_started_with_growing_pauses(installation: Installation) -> None:
    with WatchedNode(installation) as node:
        pid = children(node.pid)["nearline-0"]
        for _ in range(3):
            os.kill(pid, signal.SIGKILL)
            pid = wait_for_other(node.pid, "nearline-0", pid)
        pauses = [line["restart_in_s"] for line in node.events("worker.died")]
        assert len(pauses) == 3
        assert pauses == sorted(set(pauses)), "each longer than the one before"
        assert node.stop() == 0


def test_the_endpoints_say_who_is_ready_and_count(installation: Installation) -> None:
    publish_recommender(installation, "shop", 1)
    with WatchedNode(installation) as node:
        assert get(node, "/healthz") == (200, '{"live": true}\n')
        status, body = get(node, "/readyz")
        assert status == 200
        assert json.loads(body) == {"ready": True, "worker serving-0": True, "worker nearline-0": True}
        assert get(node, "/elsewhere")[0] == 404
        recommend(node.address, "shop", "ann")
        wait_until(lambda: "nearline_recommendations_total{" in get(node, "/metrics")[1], "it is counted")

        def unready() -> bool:
            # Again, where it was back before anybody looked: pauses between its starts grow.
            if (pid := children(node.pid).get("serving-0")) is not None:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return get(node, "/readyz")[0] == 503

        wait_until(unready, "not ready without its worker")
        assert get(node, "/healthz")[0] == 200, "restarting the node would not help"
        wait_until(lambda: get(node, "/readyz")[0] == 200, "ready again")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_node_stops_in_order_with_exit_code_0_and_leaves_nothing(
    installation: Installation, number: signal.Signals
) -> None:
    node = WatchedNode(installation)
    with node:
        workers = children(node.pid).values()
        os.kill(node.pid, number)
        assert node.wait() == 0
    assert not any(running(pid) for pid in workers)
    order = [line["event"] for line in node.lines() if line["event"].startswith(("node.", "worker."))]
    assert order[-4:] == ["node.stopping", "worker.stopped", "worker.stopped", "node.stopped"]
    run = installation.settings().data_dir / "run"
    assert not (run / "node.json").exists()
    assert installation.ask("nodes")["workers"] == [], "each has taken its presence back"


def test_workers_of_a_killed_supervisor_end_by_themselves_and_the_next_start_takes_over(
    installation: Installation,
) -> None:
    publish_recommender(installation, "shop", 1)
    node = WatchedNode(installation)
    node.start()
    workers = list(children(node.pid).values())
    with killed_at_last(workers):
        node.kill()
        with WatchedNode(installation) as following:
            assert recommend(following.address, "shop", "ann").version == 1
            wait_gone(workers)
            assert set(children(following.pid)) == {"serving-0", "nearline-0"}
            assert recommend(following.address, "shop", "ann").version == 1, "an answer of its own"


def test_what_a_dead_node_left_on_the_status_topic_is_taken_back_at_the_next_start(
    installation: Installation,
) -> None:
    settings = installation.settings()
    bus = installation.bus()
    left = status_pb2.Presence(node="one", worker="serving-9", incarnation="old")
    other = status_pb2.Presence(node="two", worker="serving-0", incarnation="theirs")
    for presence in (left, other):
        key = presence_key(presence.node, presence.worker)
        bus.append(settings.topics.status.name, key, status_pb2.StatusRecord(presence=presence).SerializeToString())
    bus.close()
    with WatchedNode(installation) as node:
        known = {(w["node"], w["worker"]) for w in installation.ask("nodes")["workers"]}
        assert ("one", "serving-9") not in known
        assert ("two", "serving-0") in known, "other nodes speak for themselves"
        assert node.events("status.cleared")


def test_a_node_whose_name_another_live_one_has_does_not_start(installation: Installation) -> None:
    settings = installation.settings()
    theirs = status_pb2.Presence(node="one", worker="serving-0", address="10.0.0.7:8500", pid=42, installation="theirs")
    with beating(installation.bus, settings.topics.status.name, theirs):
        refused = serve(installation)
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1), refused.stderr
    assert "got 'one', which another installation runs as: serving-0 (10.0.0.7:8500, pid 42)" in refused.stderr
    assert "choose another name with --node" in refused.stderr
    with WatchedNode(installation, "one", "--node", "two") as node:
        workers = list(node.info["workers"].values())
        node.kill()
        with killed_at_last(workers), WatchedNode(installation, "one", "--node", "two") as again:
            assert again.info["node"] == "two", "our own name, seen a moment ago"
            wait_gone(workers)


def test_a_node_that_can_not_have_what_it_needs_says_so_in_one_line(installation: Installation, tmp_path: Path) -> None:
    with WatchedNode(installation) as node:
        port = node.address.rpartition(":")[2]
        metrics = str(urlsplit(node.info["metrics"]).port)
        elsewhere = ["--data-dir", str(tmp_path / "elsewhere")]
        for options, message in (
            ([], "error: data_dir: expected one that no node uses, got "),
            ([*elsewhere, "--port", port], f"error: port: expected a free one, got 127.0.0.1:{port} ("),
            (
                [*elsewhere, "--metrics-port", metrics],
                f"error: metrics_port: expected a free one, got 127.0.0.1:{metrics} (",
            ),
        ):
            refused = serve(installation, *options)
            assert refused.returncode == 2, refused.stderr
            assert len(refused.stderr.splitlines()) == 1, refused.stderr
            assert refused.stderr.startswith(message), refused.stderr
        assert get(node, "/readyz")[0] == 200, "and the running one does not mind"


def serve(installation: Installation, *options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [PROGRAM, "serve", *options],
        env=installation.environment(),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
