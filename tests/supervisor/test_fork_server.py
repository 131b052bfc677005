"""The process that workers are forked from: what it must not have, and what its end does to them."""

import json
import os
import signal
import socket
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
        process.pid for process in psutil.Process(node.pid).children() if process.pid not in workers and forks(process)
    )
    return found


def forks(process: psutil.Process) -> bool:
    try:
        return "serving.supervisor.fork_server" in process.cmdline()
    except psutil.NoSuchProcess:  # it has just ended
        return False


def test_it_has_not_imported_what_starts_threads_and_what_only_trials_need() -> None:
    script = "import serving.supervisor.fork_server, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert "serving.supervisor.child" in loaded
    assert "onnxruntime" not in loaded


def test_an_order_that_nobody_waits_for_any_more_or_that_came_apart_is_dropped_and_the_next_one_carried_out() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-m", "serving.supervisor.fork_server", str(theirs.fileno())]
    server = subprocess.Popen(command, pass_fds=(theirs.fileno(),), stderr=subprocess.PIPE, text=True)
    theirs.close()
    null = os.open(os.devnull, os.O_RDWR)
    answer, to_answer = os.pipe()
    given_up, to_given_up = os.pipe()
    os.close(given_up)
    try:
        order = json.dumps(["nearline", "nearline-7", "0"]).encode()
        socket.send_fds(ours, [order], [null, null, to_given_up])
        socket.send_fds(ours, [order], [null, null])
        socket.send_fds(ours, [order], [null, null, to_answer])
        os.close(to_answer)
        with os.fdopen(answer) as told:
            pid, code = (int(line) for line in told)  # no settings: it ends at once
        assert (pid > 0, code) == (True, 1)
    finally:
        ours.close()
        os.close(null)
        os.close(to_given_up)
        said = server.communicate(timeout=240)[1]
    assert server.returncode == 0, "it ends with the supervisor"
    assert said.count("Traceback") == 1, "of one worker"


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
