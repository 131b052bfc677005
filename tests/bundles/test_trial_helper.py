"""The node's helper: trials as forks of one process."""

import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from protos.nearline.v1 import status_pb2
from serving.bundles import trial
from serving.bundles.bundle import WEIGHTS
from serving.bundles.trial import TrialAbandonedError
from serving.bundles.trial_client import ask_helper
from serving.bundles.trial_helper import BEGUN, ORDER_BYTES
from serving.bundles.trial_order import Ended, Order, bare_environment
from serving.errors import ModelError
from tests.builders.bundles import build
from tests.bundles.test_trial import MEMORY, TIMEOUT_S, unknown_operator

try_bundle = partial(trial.try_bundle, begin_s=120.0)


@pytest.fixture(scope="module")
def helper() -> Iterator[socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-m", "serving.bundles.trial_helper", str(theirs.fileno())]
    process = subprocess.Popen(command, pass_fds=(theirs.fileno(),), env=bare_environment())
    theirs.close()
    yield ours
    ours.close()
    assert process.wait(200) == 0, "it ends when nobody can give it orders"


@pytest.fixture(autouse=True)
def only_by_the_helper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.bundles.trial.sys.executable", "/nowhere")


def test_a_good_bundle_passes_and_says_what_it_took(helper: socket.socket, tmp_path: Path) -> None:
    build(tmp_path)
    report = try_bundle(tmp_path, TIMEOUT_S, MEMORY, helper=helper, batches=(1, 16))
    assert 0 < report.seconds < TIMEOUT_S
    assert set(report.latencies) == {1, 16}
    assert report.ir_version > 0
    assert "" in report.opsets


def test_a_bad_bundle_is_refused_and_the_next_one_is_tried_all_the_same(helper: socket.socket, tmp_path: Path) -> None:
    for name in ("bad", "good"):
        (tmp_path / name).mkdir()
    unknown_operator(tmp_path / "bad")
    build(tmp_path / "good")
    with pytest.raises(ModelError) as caught:
        try_bundle(tmp_path / "bad", TIMEOUT_S, MEMORY, helper=helper)
    assert (caught.value.kind, caught.value.rejected) == (status_pb2.LOAD, True)
    try_bundle(tmp_path / "good", TIMEOUT_S, MEMORY, helper=helper)


def test_what_our_own_check_refuses_never_reaches_the_runtime(helper: socket.socket, tmp_path: Path) -> None:
    build(tmp_path)
    os.truncate(tmp_path / WEIGHTS, 100)
    with pytest.raises(ModelError) as caught:
        try_bundle(tmp_path, TIMEOUT_S, MEMORY, helper=helper)
    assert caught.value.kind == status_pb2.POLICY


def test_a_trial_that_nobody_wants_is_abandoned(helper: socket.socket, tmp_path: Path) -> None:
    build(tmp_path)
    with pytest.raises(TrialAbandonedError):
        try_bundle(tmp_path, TIMEOUT_S, MEMORY, wanted=lambda: False, helper=helper)


def test_without_a_helper_that_answers_a_process_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    build(tmp_path)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.close()
    with ours:
        assert try_bundle(tmp_path, TIMEOUT_S, MEMORY, helper=ours).seconds > 0


def test_a_worker_with_thousands_of_connections_has_its_trials_too(helper: socket.socket, tmp_path: Path) -> None:
    build(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1_200), hard))
    taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(1_100)]
    try:
        assert try_bundle(tmp_path, TIMEOUT_S, MEMORY, helper=helper).seconds > 0
    finally:
        for fd in taken:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_time_that_a_helper_takes_to_begin_is_not_the_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    fds: list[int] = []
    now, answers = 0.0, iter((BEGUN, b"", b'{"code": 0, "out": "said", "err": ""}\n'))
    monkeypatch.setattr("serving.bundles.trial_client.time", SimpleNamespace(monotonic=lambda: now))
    with ours, theirs:

        def begins_late() -> bool:
            nonlocal now, fds
            if not fds:
                _, fds, _, _ = socket.recv_fds(theirs, ORDER_BYTES, 1)
                now = 100.0
            if answer := next(answers, b""):
                os.write(fds[0], answer)
            return True

        try:
            ended = ask_helper(ours, Order("", 0, 1.0), begins_late, begin_s=120.0)
        finally:
            for fd in fds:
                os.close(fd)
    assert ended == Ended(0, "said", "")
