"""What a node demands of a bundle's signature before anything parses the bundle."""

import hashlib
import uuid
from collections.abc import Callable
from pathlib import Path

from protos.nearline.v1 import status_pb2
from protos.records import Announced, BundleSignature
from serving.artifacts.alone import alone
from serving.artifacts.local import sync
from serving.artifacts.port import ArtifactStore
from serving.errors import ArtifactUnavailableError, InvalidRequestError, ModelError
from serving.trust.bundle_files import MAX_SIGNATURE_BYTES, SIGNATURE_FILE, who_signed
from serving.trust.trust import Trust


class BundleTrust:
    """Accepts bundles that were signed by a trusted key which may publish the model. Any thread.

    `trust`: whom to trust now. `kept`: where a signature, by the digest of its bundle and by its own, is kept on this
    disk, as the bundle itself is: a node starts without the artifact store.
    """

    def __init__(self, trust: Callable[[], Trust], artifacts: ArtifactStore, kept: Callable[[str, str], Path]) -> None:
        self._trust = trust
        self._artifacts = artifacts
        self._kept = kept

    def check(self, model: str, announced: Announced) -> None:
        """Raise ModelError: SIGNATURE, DIGEST and POLICY are refusals, FETCH may be tried again."""
        trust, signature = self._trust(), announced.signature
        if signature is None:
            raise _refused("expected one by a trusted key, got none")
        if signature.size > MAX_SIGNATURE_BYTES:
            raise _refused(f"expected at most {MAX_SIGNATURE_BYTES} bytes, got {signature.size}")
        file = self._kept(announced.digest, signature.sha256)
        if _sha256(file) != signature.sha256:
            self._fetch(signature, file)
        keys = {key_id: key.keys.bundles_pem for key_id, key in trust.keys.items()}
        signer = who_signed(file, announced.files, keys)
        if signer is None:
            raise _refused("expected one by a trusted key over exactly the files announced, got one that is not")
        if objection := trust.keys[signer].objection(model, "publish"):
            raise _refused(objection)

    def _fetch(self, signature: BundleSignature, target: Path) -> None:
        """Once a node: its workers want it at the same time, and take turns by the lock of the bundle beside it."""
        part = target.with_name(f"{target.name}.part-{uuid.uuid4().hex}")
        try:
            with alone(target.with_suffix(".lock")):
                if _sha256(target) == signature.sha256:
                    return
                self._artifacts.fetch(signature.uri, SIGNATURE_FILE, part, signature.size)
                if (actual := _sha256(part)) != signature.sha256:
                    message = f"{SIGNATURE_FILE}: expected SHA-256 {signature.sha256} as announced, got {actual}"
                    raise ModelError(status_pb2.DIGEST, message, rejected=True)
                sync(part)
                part.replace(target)
        except ArtifactUnavailableError as error:
            raise ModelError(status_pb2.FETCH, str(error)) from error
        except InvalidRequestError as error:
            raise ModelError(status_pb2.POLICY, str(error), rejected=True) from error
        except OSError as error:
            raise ModelError(status_pb2.DISK, f"{error.filename}: {error.strerror}") from error
        finally:
            part.unlink(missing_ok=True)


def _sha256(file: Path) -> str:
    """Of a small file; empty when it is not there."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""


def _refused(reason: str) -> ModelError:
    return ModelError(status_pb2.SIGNATURE, f"signature of the bundle: {reason}", rejected=True)
