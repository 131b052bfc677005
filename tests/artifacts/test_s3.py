"""An artifact store on S3: what is special to it, and a store over HTTP that sends its readers elsewhere."""

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from protos.nearline.v1 import status_pb2
from serving.artifacts.cache import BundleCache
from serving.artifacts.store import FsspecArtifacts
from serving.errors import ArtifactUnavailableError, InvalidRequestError, ModelError
from tests.artifacts.bundles import CONTENTS, DIGEST, FILES, contents, no_matter, write_files
from tests.servers.s3 import BUCKET, S3Server, set_variables

NAME = "model.onnx"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    return write_files(tmp_path / "source")


@pytest.fixture
def root(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    set_variables(s3_server, monkeypatch)
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


def failure(root: str, uri: str, folder: Path) -> ModelError:
    """What a node reports."""
    with pytest.raises(ModelError) as failed:
        BundleCache(folder, FsspecArtifacts(root), 1 << 20).ensure(DIGEST, uri, FILES, verifying=no_matter)
    return failed.value


def test_a_node_gets_what_was_published(root: str, files: dict[str, Path], tmp_path: Path) -> None:
    uri = FsspecArtifacts(root).put(DIGEST, files)
    cache = BundleCache(tmp_path / "cache", FsspecArtifacts(root), 1 << 20)
    assert contents(cache.ensure(DIGEST, uri, FILES, verifying=no_matter)) == CONTENTS


def test_a_truncated_object_may_be_whole_the_next_time(
    root: str, s3_server: S3Server, files: dict[str, Path], tmp_path: Path
) -> None:
    uri = FsspecArtifacts(root).put(DIGEST, files)
    s3_server.put(f"{uri.removeprefix(f's3://{BUCKET}/')}/{NAME}", CONTENTS[NAME][:-1])
    failed = failure(root, uri, tmp_path / "cache")
    assert (failed.kind, failed.rejected) == (status_pb2.FETCH, False)
    assert f"expected {len(CONTENTS[NAME])} bytes as announced, got {len(CONTENTS[NAME]) - 1}" in str(failed)
    FsspecArtifacts(root).put(DIGEST, files)
    test_a_node_gets_what_was_published(root, files, tmp_path)


def test_an_altered_object_is_rejected(root: str, s3_server: S3Server, files: dict[str, Path], tmp_path: Path) -> None:
    uri = FsspecArtifacts(root).put(DIGEST, files)
    s3_server.put(f"{uri.removeprefix(f's3://{BUCKET}/')}/{NAME}", b"x" * len(CONTENTS[NAME]))
    failed = failure(root, uri, tmp_path / "cache")
    assert (failed.kind, failed.rejected) == (status_pb2.DIGEST, True)


def test_another_bucket_or_prefix_is_refused(root: str, tmp_path: Path) -> None:
    for uri in (f"s3://elsewhere/{DIGEST}", f"s3://{BUCKET}/elsewhere/{DIGEST}", f"{root}/../elsewhere"):
        failed = failure(root, uri, tmp_path / "cache")
        assert (failed.kind, failed.rejected) == (status_pb2.POLICY, True)


def test_a_bucket_that_is_missing_is_said(root: str, files: dict[str, Path]) -> None:
    del root
    with pytest.raises(ArtifactUnavailableError, match=r"s3://nobody-has-it: .*bucket does not exist; check the name"):
        FsspecArtifacts("s3://nobody-has-it").put(DIGEST, files)


def test_credentials_that_are_wrong_or_missing_are_said(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = S3Server(tmp_path / "strict", checks_logins=True)
    server.start()
    try:
        set_variables(server, monkeypatch)
        with pytest.raises(ArtifactUnavailableError, match=r"access is refused .*; check the credentials") as refused:
            FsspecArtifacts(f"s3://{BUCKET}").put(DIGEST, files)
        assert "secret" not in str(refused.value)
        with pytest.raises(ArtifactUnavailableError, match="access is refused"):
            FsspecArtifacts(f"s3://{BUCKET}").fetch(f"s3://{BUCKET}/x", NAME, tmp_path / "target", 5)
        set_variables(server, monkeypatch)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        with pytest.raises(ArtifactUnavailableError, match="no credentials"):
            FsspecArtifacts(f"s3://{BUCKET}").put(DIGEST, files)
    finally:
        server.stop()


def test_a_server_that_is_away_is_unavailable_and_then_it_is_back(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = S3Server(tmp_path / "own")
    server.start()
    set_variables(server, monkeypatch)
    root = f"s3://{BUCKET}"
    uri = FsspecArtifacts(root).put(DIGEST, files)
    server.stop()
    failed = failure(root, uri, tmp_path / "cache")
    assert (failed.kind, failed.rejected) == (status_pb2.FETCH, False)
    server.start()
    try:
        test_a_node_gets_what_was_published(root, files, tmp_path)
    finally:
        server.stop()


@contextmanager
def http_store(answers: dict[str, tuple[int, bytes]], asked: list[str]) -> Iterator[str]:
    """A store over HTTP: status and body by path, a redirect's body being where to."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            status, body = answers.get(self.path, (404, b""))
            self.send_response(status)
            if status in {301, 302, 307}:
                self.send_header("Location", body.decode())
                body = b""
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 - the library's name

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("status", [301, 302, 307])
def test_a_redirect_out_of_the_root_is_not_followed(tmp_path: Path, status: int) -> None:
    secrets: list[str] = []
    with http_store({"/secret": (200, b"12345")}, secrets) as elsewhere:
        answers = {"/store/a/good": (200, b"12345"), "/store/a/bad": (status, f"{elsewhere}/secret".encode())}
        with http_store(answers, []) as server:
            artifacts = FsspecArtifacts(f"{server}/store")
            artifacts.fetch(f"{server}/store/a", "good", tmp_path / "target", 5)
            assert (tmp_path / "target").read_bytes() == b"12345"
            with pytest.raises((InvalidRequestError, ArtifactUnavailableError)):
                artifacts.fetch(f"{server}/store/a", "bad", tmp_path / "target", 5)
    assert secrets == []
