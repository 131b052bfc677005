"""The process that workers are forked from: what it must not have, and what its end does to them."""

import os
import signal
import subprocess
import sys

import psutil

from tests.end_to_end.client import recommend
from tests.end_to_end.installation import Installation
from tests.end_to_end.models import publish_recommender
from tests.end_to_end.waiting import wait_until
from tests.supervisor.watching import WatchedNode, children, running, wait_for_other, wait_gone


def fork_server(node: WatchedNode) -> int:
    """Its pid: workers are its forks, and have its command line."""
    workers = set(children(node.pid).values())
    (found,) = (
        process.pid
        for process in psutil.Process(node.pid).children()
        if "serving.supervisor.fork_server" in process.cmdline() and process.pid not in workers
    )
    return found


def test_it_has_not_imported_what_starts_threads_and_what_only_trials_need() -> None:
    script = "import serving.supervisor.fork_server, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert "serving.supervisor.child" in loaded
    assert "onnxruntime" not in loaded


def test_workers_go_on_without_it_and_the_next_ones_come_from_another(installation: Installation) -> None:
    publish_recommender(installation, "shop", 1)
    with WatchedNode(installation) as node:
        before = children(node.pid)
        first = fork_server(node)

        os.kill(first, signal.SIGKILL)
        wait_until(lambda: node.events("helper.died"), "the supervisor has noticed")
        assert all(running(pid) for pid in before.values())
        assert recommend(node.address, "shop", "ann").version == 1

        os.kill(before["serving-0"], signal.SIGKILL)
        after = wait_for_other(node.pid, "serving-0", before["serving-0"])
        (died,) = node.events("worker.died")
        assert died["name"] == "serving-0"
        assert fork_server(node) != first
        assert recommend(node.address, "shop", "ann").version == 1

        assert node.stop() == 0
        wait_gone({after, *before.values()})
