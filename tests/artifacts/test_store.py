"""The artifact store: complete or absent, named by content, and never outside its roots."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from serving.artifacts.store import FsspecArtifacts
from serving.errors import ArtifactUnavailableError, InvalidRequestError
from tests.artifacts.bundles import CONTENTS, DIGEST, FILES, contents, write_files
from tests.servers.s3 import BUCKET, set_variables

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    return write_files(tmp_path / "source")


@pytest.fixture(params=["file", "file with a space", "memory", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "memory":
        yield f"memory://{uuid.uuid4().hex}"
        fsspec.filesystem("memory").store.clear()
    elif request.param == "s3":
        set_variables(request.getfixturevalue("s3_server"), monkeypatch)
        yield f"s3://{BUCKET}/{uuid.uuid4().hex}"
    else:
        yield (tmp_path / ("a b%ü#?" if "space" in request.param else "artifacts")).as_uri()


def fetched(artifacts: FsspecArtifacts, uri: str, folder: Path) -> dict[str, bytes]:
    for file in FILES:
        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        artifacts.fetch(uri, file.path, target, file.size)
    return contents(folder)


def test_what_was_put_is_fetched(root: str, files: dict[str, Path], tmp_path: Path) -> None:
    uri = FsspecArtifacts(root).put(DIGEST, files)
    assert uri == f"{root}/sha256/{DIGEST[:2]}/{DIGEST}"
    assert fetched(FsspecArtifacts(root), uri, tmp_path / "target") == CONTENTS


def test_a_file_of_more_than_a_buffer_is_fetched_whole(root: str, tmp_path: Path) -> None:
    data = b"".join(number.to_bytes(4, "big") for number in range(250_001))
    (tmp_path / "large").write_bytes(data)
    uri = FsspecArtifacts(root).put(DIGEST, {"large": tmp_path / "large"})
    FsspecArtifacts(root).fetch(uri, "large", tmp_path / "target", len(data))
    assert (tmp_path / "target").read_bytes() == data


def test_putting_the_same_again_changes_nothing(root: str, files: dict[str, Path], tmp_path: Path) -> None:
    artifacts = FsspecArtifacts(root)
    uri = artifacts.put(DIGEST, files)
    assert artifacts.put(DIGEST, files) == uri
    assert fetched(artifacts, uri, tmp_path / "target") == CONTENTS


def test_a_folder_on_disk_is_named_by_content_and_holds_nothing_else(files: dict[str, Path], tmp_path: Path) -> None:
    FsspecArtifacts((tmp_path / "store").as_uri()).put(DIGEST, files)
    above = tmp_path / "store" / "sha256" / DIGEST[:2]
    assert [path.name for path in above.iterdir()] == [DIGEST]
    assert contents(above / DIGEST) == CONTENTS


def test_a_plain_path_is_a_root_too(files: dict[str, Path], tmp_path: Path) -> None:
    uri = FsspecArtifacts(str(tmp_path / "store")).put(DIGEST, files)
    assert uri.startswith(f"{tmp_path.as_uri()}/store/")
    assert contents(tmp_path / "store" / "sha256" / DIGEST[:2] / DIGEST) == CONTENTS


def test_a_publisher_killed_half_way_leaves_nothing_under_the_final_name(
    files: dict[str, Path], tmp_path: Path
) -> None:
    root = (tmp_path / "store").as_uri()
    command = [sys.executable, "-m", "tests.artifacts.bundles", "put-half", root, str(tmp_path / "source")]
    assert subprocess.run(command, cwd=REPOSITORY, check=False).returncode == -signal.SIGKILL
    final = tmp_path / "store" / "sha256" / DIGEST[:2] / DIGEST
    assert not final.exists()
    FsspecArtifacts(root).put(DIGEST, files)
    assert contents(final) == CONTENTS


def test_an_object_left_half_by_a_killed_publisher_is_put_again(files: dict[str, Path], tmp_path: Path) -> None:
    root = f"memory://{uuid.uuid4().hex}"
    artifacts = FsspecArtifacts(root)
    uri = artifacts.put(DIGEST, files)
    system, name = fsspec.core.url_to_fs(f"{uri}/model.onnx")
    system.pipe_file(name, b"half")
    artifacts.put(DIGEST, files)
    assert fetched(artifacts, uri, tmp_path / "target") == CONTENTS


def test_a_missing_file_is_unavailable(root: str, files: dict[str, Path], tmp_path: Path) -> None:
    artifacts = FsspecArtifacts(root)
    uri = artifacts.put(DIGEST, files)
    with pytest.raises(ArtifactUnavailableError, match=r"none\.bin: expected at .*, found nothing"):
        artifacts.fetch(uri, "none.bin", tmp_path / "target", 5)
    with pytest.raises(ArtifactUnavailableError, match="found nothing"):
        artifacts.fetch(f"{root}/sha256/00/none", "model.onnx", tmp_path / "target", 5)
    with pytest.raises(ArtifactUnavailableError):
        artifacts.fetch(uri, "weights", tmp_path / "target", 5)


def test_a_file_of_another_length_is_unavailable(root: str, files: dict[str, Path], tmp_path: Path) -> None:
    artifacts = FsspecArtifacts(root)
    uri = artifacts.put(DIGEST, files)
    size = len(CONTENTS["model.onnx"])
    with pytest.raises(ArtifactUnavailableError, match=f"expected {size + 1} bytes as announced, got {size}"):
        artifacts.fetch(uri, "model.onnx", tmp_path / "target", size + 1)
    with pytest.raises(ArtifactUnavailableError, match=f"expected {size - 1} bytes as announced, got more"):
        artifacts.fetch(uri, "model.onnx", tmp_path / "target", size - 1)
    assert (tmp_path / "target").stat().st_size <= size


@pytest.mark.parametrize(
    "path", ["../secret", "a/../../secret", "/etc/passwd", "", "a//b", "./a", "a\\b", "a\0b", "a::file:///etc/passwd"]
)
def test_a_name_that_leads_out_is_refused(root: str, files: dict[str, Path], tmp_path: Path, path: str) -> None:
    artifacts = FsspecArtifacts(root)
    uri = artifacts.put(DIGEST, files)
    with pytest.raises(InvalidRequestError, match="expected a plain relative path"):
        artifacts.fetch(uri, path, tmp_path / "target", 5)
    with pytest.raises(InvalidRequestError, match="expected a plain relative path"):
        artifacts.put("0" * 64, {path: files["model.onnx"]})
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize(
    "suffix", ["/../outside", "/%2e%2e/outside", "-sibling/x", "", "/a::memory://b", "/a/..%2F..%2Foutside"]
)
def test_a_folder_outside_the_root_is_refused(root: str, tmp_path: Path, suffix: str) -> None:
    with pytest.raises(InvalidRequestError, match="uri: expected a folder below"):
        FsspecArtifacts(root).fetch(f"{root}{suffix}", "file", tmp_path / "target", 5)


@pytest.mark.parametrize("uri", ["file:///etc", "/etc", "http://localhost:1/x", "memory://other/x", "s3://bucket/x"])
def test_another_place_is_refused_unless_it_is_allowed(tmp_path: Path, uri: str) -> None:
    with pytest.raises(InvalidRequestError, match="uri: expected a folder below"):
        FsspecArtifacts((tmp_path / "store").as_uri()).fetch(uri, "passwd", tmp_path / "target", 5)


def test_an_allowed_root_is_read_from(files: dict[str, Path], tmp_path: Path) -> None:
    other = (tmp_path / "other").as_uri()
    uri = FsspecArtifacts(other).put(DIGEST, files)
    artifacts = FsspecArtifacts((tmp_path / "store").as_uri(), allowed=[other])
    assert fetched(artifacts, uri, tmp_path / "target") == CONTENTS


def test_a_symbolic_link_out_of_the_root_is_refused(files: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"12345")
    artifacts = FsspecArtifacts((tmp_path / "store").as_uri())
    uri = artifacts.put(DIGEST, files)
    folder = tmp_path / "store" / "sha256" / DIGEST[:2] / DIGEST
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder.parent / "folder").symlink_to(tmp_path)
    with pytest.raises(InvalidRequestError, match="uri: expected a file below"):
        artifacts.fetch(uri, "link", tmp_path / "target", 5)
    with pytest.raises(InvalidRequestError, match="uri: expected a file below"):
        artifacts.fetch(f"{uri.rpartition('/')[0]}/folder", "secret", tmp_path / "target", 5)


def test_a_pipe_is_not_waited_for(files: dict[str, Path], tmp_path: Path) -> None:
    artifacts = FsspecArtifacts((tmp_path / "store").as_uri())
    uri = artifacts.put(DIGEST, files)
    os.mkfifo(tmp_path / "store" / "sha256" / DIGEST[:2] / DIGEST / "pipe")
    with pytest.raises(ArtifactUnavailableError):
        artifacts.fetch(uri, "pipe", tmp_path / "target", 5)


def test_a_store_that_cannot_be_written_is_unavailable(files: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ArtifactUnavailableError, match="artifact store file:///"):
        FsspecArtifacts((tmp_path / "file").as_uri()).put(DIGEST, files)
    with pytest.raises(ArtifactUnavailableError, match="artifact store nosuch://"):
        FsspecArtifacts("nosuch://bucket").put(DIGEST, files)
    with pytest.raises(ArtifactUnavailableError):
        FsspecArtifacts("nosuch://bucket").fetch("nosuch://bucket/x", "file", tmp_path / "target", 5)


def test_what_goes_wrong_at_the_target_is_not_blamed_on_the_store(files: dict[str, Path], tmp_path: Path) -> None:
    artifacts = FsspecArtifacts((tmp_path / "store").as_uri())
    uri = artifacts.put(DIGEST, files)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        artifacts.fetch(uri, "model.onnx", tmp_path / "nowhere" / "target", FILES[0].size)
