"""Bundles on a node's disk stay within a budget, and nothing that is used goes."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st

from protos.digest import FileEntry, bundle_digest
from serving.artifacts.cache import BundleCache
from serving.artifacts.holds import Hold, hold_path
from serving.artifacts.reclaim import reclaim
from serving.artifacts.store import FsspecArtifacts
from tests.artifacts.bundles import no_matter

SIZE = 1000
REPOSITORY = Path(__file__).parents[2]


class Disk:
    """A node's bundles of SIZE bytes each; `budget`: how many of them fit."""

    def __init__(self, folder: Path, budget: int) -> None:
        self.folder = folder
        self._artifacts = FsspecArtifacts((folder / "store").as_uri())
        self._budget = budget * SIZE
        self.clock = 1_000_000
        self.cache = self.process()

    def process(self) -> BundleCache:
        return BundleCache(self.folder / "cache", self._artifacts, 1 << 20, self._budget)

    def fetch(self, name: str, model: str = "m", cache: BundleCache | None = None) -> Hold:
        """Use a bundle that is named by its content."""
        data = name.encode().ljust(SIZE, b".")
        files = [FileEntry("model.onnx", hashlib.sha256(data).hexdigest(), SIZE)]
        (self.folder / "model.onnx").write_bytes(data)
        uri = self._artifacts.put(bundle_digest(files), {"model.onnx": self.folder / "model.onnx"})
        cache = cache or self.cache
        hold = cache.hold(bundle_digest(files), model)
        cache.ensure(bundle_digest(files), uri, files, verifying=no_matter)
        return hold

    def use(self, name: str, model: str = "m") -> None:
        """Use it for a moment; moments follow each other on a clock by hand."""
        hold = self.fetch(name, model)
        hold.release()
        self.clock += 1
        os.utime(hold_path(self.folder / "cache", self.digest(name)), (self.clock, self.clock))

    def digest(self, name: str) -> str:
        data = name.encode().ljust(SIZE, b".")
        return bundle_digest([FileEntry("model.onnx", hashlib.sha256(data).hexdigest(), SIZE)])

    def names(self) -> set[str]:
        """The bundles on the disk."""
        paths = (self.folder / "cache").glob("*/model.onnx")
        return {path.read_bytes().rstrip(b".").decode() for path in paths if ".part-" not in path.parent.name}


@pytest.fixture
def make(tmp_path: Path) -> Callable[[int], Disk]:
    return lambda budget: Disk(tmp_path, budget)


def test_within_the_budget_everything_stays(make: Callable[[int], Disk]) -> None:
    disk = make(3)
    for name in "abc":
        disk.use(name)
    assert disk.names() == {"a", "b", "c"}


def test_beyond_it_the_least_recently_used_goes_and_comes_back_when_it_is_wanted(make: Callable[[int], Disk]) -> None:
    disk = make(3)
    for name in "abcad":
        disk.use(name)
    assert disk.names() == {"a", "c", "d"}
    disk.use("b")
    assert disk.names() == {"a", "d", "b"}


def test_what_a_process_uses_stays_however_old(make: Callable[[int], Disk]) -> None:
    disk = make(2)
    held = disk.fetch("a")
    for name in "bcd":
        disk.use(name)
    assert disk.names() == {"a", "d"}
    held.release()
    held.release()
    disk.use("a")
    for name in "ef":
        disk.use(name)
    assert disk.names() == {"e", "f"}


def test_one_of_two_users_is_enough_to_keep_it(make: Callable[[int], Disk]) -> None:
    disk = make(1)
    first, second = disk.fetch("a"), disk.fetch("a", cache=disk.process())
    first.release()
    disk.use("b")
    assert "a" in disk.names()
    second.release()


def test_a_process_that_is_gone_uses_nothing(make: Callable[[int], Disk]) -> None:
    disk = make(1)
    disk.use("a")
    script = (
        "import os, sys, pathlib\n"
        "from serving.artifacts.holds import Hold, hold_path\n"
        "hold = Hold(hold_path(pathlib.Path(sys.argv[1]), sys.argv[2]), 'm')\n"
        "print('held', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(disk.folder / "cache"), disk.digest("a")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=pipe, stdout=pipe, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        disk.use("b")
        assert disk.names() == {"a", "b"}, "more than the budget, since nothing may go but what is just fetched"
        child.kill()
    disk.use("c")
    assert disk.names() == {"c"}


def test_the_two_newest_of_a_model_go_after_all_others(make: Callable[[int], Disk]) -> None:
    disk = make(4)
    for name in ("old-1", "old-2"):
        disk.use(name, "old")
    for name in "abcde":
        disk.use(name, "busy")
    assert disk.names() == {"old-1", "old-2", "d", "e"}


def test_a_bundle_that_somebody_is_fetching_is_passed_over(make: Callable[[int], Disk]) -> None:
    disk = make(2)
    disk.use("a")
    disk.use("b")
    with FileLock(disk.folder / "cache" / f"{disk.digest('a')}.lock"):
        assert reclaim(disk.folder / "cache", 0, disk.cache.remove) == [disk.digest("b")]
    with FileLock(disk.folder / "cache" / "reclaim.lock"):
        assert reclaim(disk.folder / "cache", 0, disk.cache.remove) == []
    assert disk.names() == {"a"}


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 4),
    st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["m", "n"]), st.booleans()), max_size=12),
)
def test_nothing_that_is_held_ever_goes_and_after_a_fetch_the_rest_is_within_the_budget(
    tmp_path_factory: pytest.TempPathFactory, budget: int, steps: list[tuple[str, str, bool]]
) -> None:
    disk = Disk(tmp_path_factory.mktemp("disk"), budget)
    held: dict[str, Hold] = {}
    for name, model, keep in steps:
        before = disk.names()
        hold = disk.fetch(name, model)
        assert disk.names() >= {*held, name}
        if name not in before:
            assert len(disk.names()) <= max(budget, len({*held, name}))
        if keep and name not in held:
            held[name] = hold
        else:
            hold.release()
    for hold in held.values():
        hold.release()
