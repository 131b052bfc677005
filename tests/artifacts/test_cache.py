"""The bundles of a node: whole or absent, right or refused, downloaded once."""

import errno
import hashlib
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BufferedReader
from pathlib import Path
from typing import Any

import pytest

from protos.digest import bundle_digest
from protos.nearline.v1 import status_pb2
from serving.artifacts.cache import BundleCache
from serving.artifacts.local import sync
from serving.artifacts.store import FsspecArtifacts
from serving.errors import ModelError
from tests.artifacts.bundles import CONTENTS, DIGEST, FILES, MAX_BYTES, contents, no_matter, write_files

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def root(tmp_path: Path) -> str:
    return (tmp_path / "store").as_uri()


@pytest.fixture
def uri(root: str, tmp_path: Path) -> str:
    return FsspecArtifacts(root).put(DIGEST, write_files(tmp_path / "source"))


@pytest.fixture
def stored(uri: str, tmp_path: Path) -> Path:
    """The bundle in the artifact store, there to be damaged."""
    assert uri
    return tmp_path / "store" / "sha256" / DIGEST[:2] / DIGEST


@pytest.fixture
def cache(root: str, tmp_path: Path) -> BundleCache:
    return BundleCache(tmp_path / "cache", FsspecArtifacts(root), MAX_BYTES)


def restarted(tmp_path: Path, root: str) -> BundleCache:
    """As a process has it that starts now."""
    return BundleCache(tmp_path / "cache", FsspecArtifacts(root), MAX_BYTES)


def bundles(tmp_path: Path) -> list[str]:
    """What the cache holds besides locks and marks."""
    beside = {".lock", ".verified", ".use"}
    return sorted(path.name for path in (tmp_path / "cache").iterdir() if path.suffix not in beside)


@contextmanager
def refused(kind: "status_pb2.ErrorKind.ValueType", match: str, *, rejected: bool = False) -> Iterator[None]:
    with pytest.raises(ModelError, match=match) as caught:
        yield
    assert status_pb2.ErrorKind.Name(caught.value.kind) == status_pb2.ErrorKind.Name(kind)
    assert caught.value.rejected == rejected


def test_a_bundle_is_downloaded_and_then_found(cache: BundleCache, uri: str, stored: Path, tmp_path: Path) -> None:
    folder = cache.ensure(DIGEST, uri, FILES, verifying=no_matter)
    assert folder == tmp_path / "cache" / DIGEST
    assert contents(folder) == CONTENTS
    (stored / "model.onnx").unlink()
    assert cache.ensure(DIGEST, uri, FILES, verifying=no_matter) == folder
    assert bundles(tmp_path) == [DIGEST]


def test_verifying_begins_when_all_bytes_are_there(cache: BundleCache, uri: str, tmp_path: Path) -> None:
    seen: list[int] = []
    cache.ensure(DIGEST, uri, FILES, verifying=lambda: seen.append(len(contents(tmp_path / "cache"))))
    assert seen == [len(FILES) + 1]  # and the lock


def test_a_missing_file_may_be_tried_again(cache: BundleCache, uri: str, stored: Path, tmp_path: Path) -> None:
    data = (stored / "model.onnx").read_bytes()
    (stored / "model.onnx").unlink()
    with refused(status_pb2.FETCH, r"model\.onnx: expected at .*, found nothing"):
        cache.ensure(DIGEST, uri, FILES, verifying=no_matter)
    assert bundles(tmp_path) == []
    (stored / "model.onnx").write_bytes(data)
    assert contents(cache.ensure(DIGEST, uri, FILES, verifying=no_matter)) == CONTENTS


def test_a_truncated_file_may_be_tried_again(cache: BundleCache, uri: str, stored: Path, tmp_path: Path) -> None:
    (stored / "model.onnx").write_bytes(CONTENTS["model.onnx"][:-1])
    with refused(status_pb2.FETCH, r"model\.onnx: expected 5000 bytes as announced, got 4999"):
        cache.ensure(DIGEST, uri, FILES, verifying=no_matter)
    assert bundles(tmp_path) == []


def test_other_bytes_than_announced_are_rejected(cache: BundleCache, uri: str, stored: Path, tmp_path: Path) -> None:
    (stored / "model.onnx").write_bytes(CONTENTS["model.onnx"][:-1] + b"!")
    with refused(status_pb2.DIGEST, r"model\.onnx: expected SHA-256 [0-9a-f]{64} as announced", rejected=True):
        cache.ensure(DIGEST, uri, FILES, verifying=no_matter)
    assert bundles(tmp_path) == []


def test_a_bundle_above_the_limit_is_rejected_before_it_is_fetched(uri: str, root: str, tmp_path: Path) -> None:
    cache = BundleCache(tmp_path / "cache", FsspecArtifacts(root), 1000)
    with refused(status_pb2.POLICY, "bundle: expected at most 1000 bytes", rejected=True):
        cache.ensure(DIGEST, uri, FILES, verifying=no_matter)
    assert not (tmp_path / "cache").exists()


def test_a_bundle_outside_the_roots_is_rejected(cache: BundleCache, tmp_path: Path) -> None:
    with refused(status_pb2.POLICY, "uri: expected a folder below", rejected=True):
        cache.ensure(DIGEST, "file:///etc", FILES, verifying=no_matter)
    assert bundles(tmp_path) == []


@pytest.mark.parametrize("path", ["../../escaped", "/tmp/escaped", "a/../../../escaped", "a\0b"])  # noqa: S108 - refused
def test_a_name_that_leads_out_of_the_bundle_is_rejected(
    cache: BundleCache, uri: str, tmp_path: Path, path: str
) -> None:
    files = [replace(FILES[0], path=path)]
    with refused(status_pb2.POLICY, "expected a plain relative path", rejected=True):
        cache.ensure(bundle_digest(files), uri, files, verifying=no_matter)
    assert not list(tmp_path.rglob("escaped*"))


@pytest.mark.parametrize("digest", ["..", "../source", "", "A" * 64, "0" * 63])
def test_a_digest_that_is_none_is_rejected(cache: BundleCache, uri: str, tmp_path: Path, digest: str) -> None:
    with refused(status_pb2.POLICY, "digest: expected 64", rejected=True):
        cache.ensure(digest, uri, FILES, verifying=no_matter)
    with refused(status_pb2.POLICY, "digest: expected 64", rejected=True):
        cache.remove(digest)
    assert contents(tmp_path / "source") == CONTENTS


def damage_a_byte(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(CONTENTS["model.onnx"][:-1] + b"!")


def truncate_a_file(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"")


def delete_a_file(folder: Path) -> None:
    (folder / "model.onnx").unlink()


@pytest.mark.parametrize("damage", [damage_a_byte, truncate_a_file, delete_a_file])
def test_a_copy_that_was_damaged_is_found_at_the_next_start_and_downloaded_again(
    cache: BundleCache, uri: str, root: str, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    folder = cache.ensure(DIGEST, uri, FILES, verifying=no_matter)
    damage(folder)
    started = restarted(tmp_path, root)
    assert started.ensure(DIGEST, uri, FILES, verifying=no_matter) == folder
    assert contents(folder) == CONTENTS


def test_a_sound_copy_is_verified_at_a_start_without_a_download(
    cache: BundleCache, uri: str, root: str, stored: Path, tmp_path: Path
) -> None:
    folder = cache.ensure(DIGEST, uri, FILES, verifying=no_matter)
    (stored / "model.onnx").unlink()
    assert restarted(tmp_path, root).ensure(DIGEST, uri, FILES, verifying=no_matter) == folder


def test_processes_that_start_together_hash_it_once(
    cache: BundleCache, uri: str, root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.ensure(DIGEST, uri, FILES, verifying=no_matter)
    siblings = [restarted(tmp_path, root) for _ in range(3)]
    hashed: list[str] = []
    digest_of = hashlib.file_digest

    def counted(file: BufferedReader, name: str) -> Any:
        hashed.append(file.name)
        return digest_of(file, name)

    monkeypatch.setattr("serving.artifacts.local.hashlib.file_digest", counted)
    for sibling in siblings:
        sibling.ensure(DIGEST, uri, FILES, verifying=no_matter)
    assert len(hashed) == len(FILES)


@pytest.mark.parametrize("mark", ["", "x", "another-boot 1e99", "1 2 3", "\0"])
def test_a_mark_that_says_nothing_is_none(cache: BundleCache, uri: str, root: str, tmp_path: Path, mark: str) -> None:
    folder = cache.ensure(DIGEST, uri, FILES, verifying=no_matter)
    started = restarted(tmp_path, root)
    damage_a_byte(folder)
    (tmp_path / "cache" / f"{DIGEST}.verified").write_text(mark)
    assert contents(started.ensure(DIGEST, uri, FILES, verifying=no_matter)) == CONTENTS


def test_a_removed_copy_is_gone_and_stays_readable_to_who_has_it_open(
    cache: BundleCache, uri: str, tmp_path: Path
) -> None:
    folder = cache.ensure(DIGEST, uri, FILES, verifying=no_matter)
    signature = cache.signature_path(DIGEST, "0" * 64)
    signature.write_bytes(b"signature")
    with (folder / "model.onnx").open("rb") as mapped:
        cache.remove(DIGEST)
        assert bundles(tmp_path) == []
        assert not signature.exists()
        assert mapped.read() == CONTENTS["model.onnx"]
    cache.remove(DIGEST)
    assert contents(cache.ensure(DIGEST, uri, FILES, verifying=no_matter)) == CONTENTS


def test_a_bundle_appears_only_when_every_file_and_folder_of_it_is_durable(
    cache: BundleCache, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: dict[str, bool] = {}
    final = tmp_path / "cache" / DIGEST

    def watched(path: Path) -> None:
        sync(path)
        synced["/".join(path.relative_to(tmp_path / "cache").parts[1:])] = final.exists()

    monkeypatch.setattr("serving.artifacts.cache.sync", watched)
    cache.ensure(DIGEST, uri, FILES, verifying=no_matter)
    assert synced == {**dict.fromkeys([*CONTENTS, "weights"], False), "": True}, "and its own name after it appeared"


def test_a_disk_that_fails_to_keep_a_file_is_told_and_leaves_no_bundle(
    cache: BundleCache, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as patch, refused(status_pb2.DISK, "No space left"):
        patch.setattr("serving.artifacts.cache.sync", failing)
        cache.ensure(DIGEST, uri, FILES, verifying=no_matter)
    assert bundles(tmp_path) == []
    assert contents(cache.ensure(DIGEST, uri, FILES, verifying=no_matter)) == CONTENTS


@pytest.mark.parametrize("moment", ["ensure-half", "ensure-unsynced"])
def test_a_process_killed_half_way_leaves_nothing_visible_and_the_next_cleans_up(
    cache: BundleCache, uri: str, root: str, tmp_path: Path, moment: str
) -> None:
    command = [sys.executable, "-m", "tests.artifacts.bundles", moment, root, str(tmp_path / "cache")]
    assert subprocess.run(command, cwd=REPOSITORY, check=False).returncode == -signal.SIGKILL
    (left,) = bundles(tmp_path)
    assert left.startswith(f"{DIGEST}.part-")
    assert contents(cache.ensure(DIGEST, uri, FILES, verifying=no_matter)) == CONTENTS
    assert bundles(tmp_path) == [DIGEST]


def test_processes_that_want_it_at_once_download_it_once(uri: str, root: str, tmp_path: Path) -> None:
    assert uri
    counts = tmp_path / "counts"
    counts.mkdir()
    command = [sys.executable, "-m", "tests.artifacts.bundles", "ensure", root, str(tmp_path / "cache"), str(counts)]
    children = [subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    told = [child.communicate()[0].strip() for child in children]
    assert told == [str(tmp_path / "cache" / DIGEST)] * 4
    assert len(list(counts.iterdir())) == len(FILES)
    assert contents(tmp_path / "cache" / DIGEST) == CONTENTS


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A disk that is full: writing more fails with EFBIG."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_told_as_such_and_may_be_tried_again(cache: BundleCache, uri: str, tmp_path: Path) -> None:
    with files_of_at_most(2000), refused(status_pb2.DISK, "File too large"):
        cache.ensure(DIGEST, uri, FILES, verifying=no_matter)
    assert bundles(tmp_path) == []
    assert contents(cache.ensure(DIGEST, uri, FILES, verifying=no_matter)) == CONTENTS


def test_a_bundle_in_an_object_store_is_downloaded_too(tmp_path: Path) -> None:
    artifacts = FsspecArtifacts("memory://objects")
    uri = artifacts.put(DIGEST, write_files(tmp_path / "source"))
    folder = BundleCache(tmp_path / "cache", artifacts, MAX_BYTES).ensure(DIGEST, uri, FILES, verifying=no_matter)
    assert contents(folder) == CONTENTS
