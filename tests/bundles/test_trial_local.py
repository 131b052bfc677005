"""A publisher's own helper: one for all of its trials, and a new one when that has ended."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from serving.bundles.trial import try_bundle
from serving.bundles.trial_local import LocalHelper
from tests.builders.bundles import build
from tests.builders.graphs import wide
from tests.bundles.test_trial import MEMORY, TIMEOUT_S


@pytest.fixture
def local() -> Iterator[LocalHelper]:
    helper = LocalHelper()
    yield helper
    helper.close()


def helpers(of: int) -> set[int]:
    return {child.pid for child in psutil.Process(of).children() if "serving.bundles.trial_helper" in child.cmdline()}


def test_all_trials_are_of_one_helper_and_a_dead_one_is_replaced(local: LocalHelper, tmp_path: Path) -> None:
    build(tmp_path)
    others = helpers(os.getpid())
    for _ in range(2):
        try_bundle(tmp_path, TIMEOUT_S, MEMORY, helper=local.socket(), begin_s=120.0)
    (first,) = helpers(os.getpid()) - others
    psutil.Process(first).kill()
    local._process.wait()  # type: ignore[union-attr]

    try_bundle(tmp_path, TIMEOUT_S, MEMORY, helper=local.socket(), begin_s=120.0)
    (second,) = helpers(os.getpid()) - others
    assert second != first

    local.close()
    assert helpers(os.getpid()) == others


@pytest.mark.skipif(sys.platform != "linux", reason="no other system tells, or has a helper")
def test_what_a_model_takes_does_not_hang_on_who_makes_the_process(local: LocalHelper, tmp_path: Path) -> None:
    build(tmp_path, wide(2048))
    theirs = try_bundle(tmp_path, TIMEOUT_S, MEMORY, helper=local.socket(), begin_s=120.0)
    ours = try_bundle(tmp_path, TIMEOUT_S, MEMORY)
    for theirs_bytes, our_bytes in (
        (theirs.peak_bytes, ours.peak_bytes),
        (theirs.model_bytes, ours.model_bytes),
        (theirs.private_bytes, ours.private_bytes),
    ):
        assert abs(theirs_bytes - our_bytes) < 4 << 20, (theirs, ours)


def test_it_ends_with_the_process_that_publishes() -> None:
    script = "from serving.bundles.trial_local import local_helper as h; h.socket(); print(h._process.pid)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    assert not psutil.pid_exists(int(done.stdout))
    assert done.stderr == ""
