"""Signatures of bundles: made with OpenSSF model signing, and demanded before anything parses a bundle."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from protos.digest import bundle_digest
from protos.nearline.v1 import status_pb2
from protos.records import Announced, BundleSignature
from publisher.build import list_files
from serving.artifacts.store import FsspecArtifacts
from serving.bundles.bundle import MANIFEST
from serving.errors import ModelError
from serving.trust import bundles
from serving.trust.bundle_files import MAX_SIGNATURE_BYTES, SIGNATURE_FILE, sign_files
from serving.trust.bundles import BundleTrust
from serving.trust.keys import SigningKeys
from tests.builders.bundles import build
from tests.builders.trust import ANN, BOB, EVE, rule, trusting
from tests.builders.waiting import DEADLINE_S


class Scene:
    """A bundle, its signature, and a node that trusts Ann and Bob with models of their own."""

    def __init__(self, folder: Path) -> None:
        self.built = folder / "built"
        build(self.built)
        self.folder = folder
        self.artifacts = FsspecArtifacts((folder / "artifacts").as_uri())
        trust = trusting(folder, rule("ann", ANN, "m"), rule("bob", BOB, "other"))
        self.node = BundleTrust(lambda: trust, self.artifacts, lambda _digest, sha256: self.kept(sha256))

    def kept(self, sha256: str) -> Path:
        return self.folder / f"kept.{sha256}"

    def signature(self, keys: SigningKeys) -> BundleSignature:
        target = self.folder / SIGNATURE_FILE
        sign_files(self.built, keys, target)
        return self.stored(target.read_bytes())

    def stored(self, data: bytes) -> BundleSignature:
        target = self.folder / SIGNATURE_FILE
        target.write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        return BundleSignature(self.artifacts.put(digest, {SIGNATURE_FILE: target}), digest, len(data))

    def announced(self, signature: BundleSignature | None) -> Announced:
        files = list_files(self.built)
        return Announced(1, bundle_digest(files), "file:///x", tuple(files), False, 0, 0, signature)

    def refusal(self, announced: Announced, model: str = "m") -> ModelError:
        with pytest.raises(ModelError) as caught:
            self.node.check(model, announced)
        return caught.value


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_bundle_that_a_trusted_key_signed_is_accepted(scene: Scene) -> None:
    scene.node.check("m", scene.announced(scene.signature(ANN)))
    scene.node.check("other", scene.announced(scene.signature(BOB)))


def test_an_unsigned_bundle_is_refused(scene: Scene) -> None:
    error = scene.refusal(scene.announced(None))
    assert (error.kind, error.rejected) == (status_pb2.SIGNATURE, True)
    assert "expected one by a trusted key, got none" in str(error)


def test_a_bundle_that_an_unknown_key_signed_is_refused(scene: Scene) -> None:
    error = scene.refusal(scene.announced(scene.signature(EVE)))
    assert (error.kind, error.rejected) == (status_pb2.SIGNATURE, True)


def test_a_bundle_that_was_signed_for_another_model_is_refused(scene: Scene) -> None:
    error = scene.refusal(scene.announced(scene.signature(BOB)))
    assert (error.kind, error.rejected) == (status_pb2.SIGNATURE, True)
    assert "bob may not speak for m" in str(error)


def test_a_manifest_that_was_changed_after_signing_is_refused(scene: Scene) -> None:
    signature = scene.signature(ANN)
    manifest = scene.built / MANIFEST
    manifest.write_text(manifest.read_text().replace('"description": ""', '"description": "mine now"'))
    error = scene.refusal(scene.announced(signature))
    assert (error.kind, error.rejected) == (status_pb2.SIGNATURE, True)
    assert "over exactly the files announced" in str(error)


def test_a_file_more_or_less_than_was_signed_is_refused(scene: Scene) -> None:
    signature = scene.signature(ANN)
    (scene.built / "more").write_text("x")
    assert scene.refusal(scene.announced(signature)).kind == status_pb2.SIGNATURE
    (scene.built / "more").unlink()
    (scene.built / MANIFEST).unlink()
    assert scene.refusal(scene.announced(signature)).kind == status_pb2.SIGNATURE


def test_files_that_a_signature_leaves_out_are_not_left_out(scene: Scene) -> None:
    (scene.built / ".gitignore").write_text("model signing does not look at this one")
    assert scene.refusal(scene.announced(scene.signature(ANN))).kind == status_pb2.SIGNATURE


@pytest.mark.parametrize("data", [b"", b"{}", b"no json", b'{"dsseEnvelope": {}}'])
def test_a_file_that_is_no_signature_is_refused(scene: Scene, data: bytes) -> None:
    assert scene.refusal(scene.announced(scene.stored(data))).kind == status_pb2.SIGNATURE


def test_another_signature_than_announced_is_refused(scene: Scene) -> None:
    signature = scene.signature(ANN)
    other = BundleSignature(signature.uri, "0" * 64, signature.size)
    error = scene.refusal(scene.announced(other))
    assert (error.kind, error.rejected) == (status_pb2.DIGEST, True)


def test_a_signature_that_is_away_may_come_back(scene: Scene) -> None:
    signature = scene.signature(ANN)
    (Path(urlsplit(signature.uri).path) / SIGNATURE_FILE).unlink()
    error = scene.refusal(scene.announced(signature))
    assert (error.kind, error.rejected) == (status_pb2.FETCH, False)


def test_a_signature_is_kept_as_the_bundle_is_so_that_a_node_starts_without_the_store(scene: Scene) -> None:
    announced = scene.announced(scene.signature(ANN))
    scene.node.check("m", announced)
    assert announced.signature
    stored = Path(urlsplit(announced.signature.uri).path) / SIGNATURE_FILE
    stored.rename(stored.with_name("away"))
    scene.node.check("m", announced)
    kept = scene.kept(announced.signature.sha256)
    kept.write_bytes(b"damaged")
    assert scene.refusal(announced).kind == status_pb2.FETCH
    stored.with_name("away").rename(stored)
    scene.node.check("m", announced)
    assert sorted(path.name for path in scene.folder.glob("kept*")) == [kept.name, "kept.lock"]


def test_each_signature_of_one_bundle_is_kept(scene: Scene) -> None:
    ours, theirs = scene.announced(scene.signature(ANN)), scene.announced(scene.signature(BOB))
    for model, announced in (("m", ours), ("other", theirs)):
        scene.node.check(model, announced)
        assert announced.signature
        (Path(urlsplit(announced.signature.uri).path) / SIGNATURE_FILE).unlink()
    scene.node.check("m", ours)
    scene.node.check("other", theirs)


def test_a_signature_outside_the_store_is_refused(scene: Scene) -> None:
    signature = BundleSignature("file:///etc", "0" * 64, 10)
    assert scene.refusal(scene.announced(signature)).kind == status_pb2.POLICY


def test_an_enormous_signature_is_not_fetched(scene: Scene) -> None:
    signature = BundleSignature("file:///dev", "0" * 64, MAX_SIGNATURE_BYTES + 1)
    assert scene.refusal(scene.announced(signature)).kind == status_pb2.SIGNATURE


def test_the_tools_of_model_signing_verify_it_too(scene: Scene) -> None:
    from model_signing.verifying import Config  # noqa: PLC0415 - slow

    scene.signature(ANN)
    public = scene.folder / "ann.pem"
    public.write_bytes(ANN.public.bundles_pem)
    Config().use_elliptic_key_verifier(public_key=public).verify(scene.built, scene.folder / SIGNATURE_FILE)
    public.write_bytes(EVE.public.bundles_pem)
    with pytest.raises(ValueError, match="Key mismatch"):
        Config().use_elliptic_key_verifier(public_key=public).verify(scene.built, scene.folder / SIGNATURE_FILE)


def test_workers_that_want_a_signature_at_once_fetch_it_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    announced = scene.announced(scene.signature(ANN))
    together, fetched = threading.Barrier(4), list[str]()
    fetch, look = FsspecArtifacts.fetch, bundles._sha256

    def counted(artifacts: FsspecArtifacts, uri: str, path: str, target: Path, size: int) -> None:
        fetched.append(path)
        fetch(artifacts, uri, path, target, size)

    def at_once(file: Path) -> str:
        found = look(file)
        if threading.get_ident() not in looked:
            looked.add(threading.get_ident())
            together.wait(DEADLINE_S)  # all of them have found none
        return found

    looked = set[int]()
    monkeypatch.setattr(FsspecArtifacts, "fetch", counted)
    monkeypatch.setattr(bundles, "_sha256", at_once)
    with ThreadPoolExecutor(4) as workers:
        for done in [workers.submit(scene.node.check, "m", announced) for _ in range(4)]:
            done.result()
    assert fetched == [SIGNATURE_FILE]
