"""Signs bundles, and verifies signatures of bundles, with OpenSSF model signing: key pairs, offline.

A signature is a file that the tools of https://github.com/sigstore/model-transparency read, too. The library takes a
third of a second to import, and is an extra: it is imported on use.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from protos.digest import FileEntry
from serving.errors import UserError
from serving.trust.keys import SigningKeys

SIGNATURE_FILE = "bundle.sig"
MAX_SIGNATURE_BYTES = 1 << 20


class MissingSigningError(UserError):
    """The extra is not installed."""


def load_library() -> None:
    """Import the library, so that the first bundle need not wait for that; MissingSigningError."""
    try:
        import model_signing.signing  # noqa: PLC0415 - an extra, and slow
        import model_signing.verifying  # noqa: F401, PLC0415
    except ImportError as error:
        raise MissingSigningError(
            f"signatures of bundles need model-signing: pip install 'nearline[signing]' ({error})"
        ) from error


def sign_files(folder: Path, keys: SigningKeys, target: Path) -> None:
    """Sign all files of a folder; the signature becomes the file `target`, outside it."""
    load_library()
    from model_signing import signing  # noqa: PLC0415 - an extra, and slow

    with tempfile.TemporaryDirectory(prefix="nearline-key-") as temporary:
        key = Path(temporary) / "key.pem"
        key.touch(mode=0o600)
        key.write_bytes(keys.bundles_pem)
        signing.Config().use_elliptic_key_signer(private_key=key).sign(folder, target)


def who_signed(signature: Path, files: Sequence[FileEntry], keys: Mapping[str, bytes]) -> str | None:
    """Return the id of the key (PEM by id) that signed exactly these files; None when none of them did.

    Nothing is hashed: the caller has compared every file with its entry.
    """
    load_library()
    from model_signing import verifying  # noqa: PLC0415 - an extra, and slow

    with tempfile.TemporaryDirectory(prefix="nearline-keys-") as temporary:
        for key_id, pem in keys.items():
            public = Path(temporary) / "key.pem"
            public.write_bytes(pem)
            config = verifying.Config().use_elliptic_key_verifier(public_key=public)
            listed: Any = _Listed(files)
            try:
                config.set_hashing_config(listed).verify(Path(temporary), signature)
            except Exception:  # noqa: BLE001, S112 - whatever is in the file, and whichever library stumbles over it
                continue
            return key_id
    return None


class _Listed:
    """Stands where the library hashes a folder: hands it the digests that are known, of all files and no others.

    What a signature says is to be left out is not left out.
    """

    def __init__(self, files: Sequence[FileEntry]) -> None:
        self._files = files

    def add_ignored_paths(self, **_paths: Any) -> None:
        """Ignore nothing."""

    def hash(self, _folder: Path, **_files: Any) -> Any:
        """Return the manifest of the files."""
        from model_signing import manifest  # noqa: PLC0415 - an extra, and slow
        from model_signing._hashing.hashing import Digest  # noqa: PLC0415 - manifests take no other

        kind = manifest.SerializationType.from_args({"method": "files", "hash_type": "sha256", "allow_symlinks": False})
        items = [
            manifest.FileManifestItem(
                path=PurePosixPath(file.path), digest=Digest("sha256", bytes.fromhex(file.sha256))
            )
            for file in self._files
        ]
        return manifest.Manifest("bundle", items, kind)
