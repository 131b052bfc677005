"""Who a publisher is, by its settings: it signs with its key, and believes the keys that it trusts itself."""

import hashlib
import tempfile
from functools import cached_property
from pathlib import Path

from protos.judging import Judge, accept_everybody
from protos.nearline.v1 import ledger_pb2
from protos.records import BundleSignature
from protos.signing import signed_bytes
from publisher.hearers import check_heard
from publisher.ledger import Ledger
from serving.artifacts.store import FsspecArtifacts
from serving.bus.port import Bus
from serving.settings import Settings
from serving.trust.bundle_files import SIGNATURE_FILE, MissingSigningError, load_library, sign_files
from serving.trust.files import read_trust
from serving.trust.keys import SigningKeys, read_signing_keys


def open_ledger(bus: Bus, settings: Settings) -> Ledger:
    """Open the ledger as the settings want it read and written; a key file is read when something is said."""
    return Ledger(bus, settings.topics, Publisher(bus, settings))


class Publisher:
    """The voice of the settings. UserError: a key file cannot be read, or what is said would not be heard."""

    def __init__(self, bus: Bus, settings: Settings) -> None:
        self._bus = bus
        self._settings = settings
        self._trust = read_trust(settings.trusted_keys)

    def judge(self, ledger: str) -> Judge:
        """As a node with these settings judges."""
        return self._trust.judge(ledger) if self._trust else accept_everybody

    def sign(self, ledger: str, schema: int, statement: bytes) -> list[ledger_pb2.Signature]:
        """Sign with the key of the settings, if there is one."""
        keys = self._keys
        key_id = keys.public.id if keys else ""
        if self._trust is None:  # else the judge knows better than what live nodes say
            self._check_heard(key_id)
        if keys is None:
            return []
        signature = keys.sign(signed_bytes(schema, ledger, statement))
        return [ledger_pb2.Signature(key_id=key_id, signature=signature, audience=ledger)]

    @cached_property
    def _keys(self) -> SigningKeys | None:
        return signing_keys(self._settings)

    def _check_heard(self, key_id: str) -> None:
        check_heard(self._bus, self._settings.topics, key_id)


def signing_keys(settings: Settings) -> SigningKeys | None:
    """Read the keys that the settings name; None when they name none."""
    if settings.signing_key is None:
        return None
    return read_signing_keys(settings.signing_key, settings.signing_passphrase.get_secret_value())


def bundle_keys(settings: Settings) -> SigningKeys | None:
    """Read the keys that bundles are signed with, and import what signs them; None when they are not to be signed.

    UserError: the keys cannot be read, though something else may need them, or the extra is not installed.
    """
    keys = signing_keys(settings)
    if keys is None or not settings.sign_bundles:
        return None
    try:
        load_library()
    except MissingSigningError as error:
        raise MissingSigningError(f"{error}; or leave bundles unsigned: NEARLINE_SIGN_BUNDLES=false") from error
    return keys


def sign_bundle(keys: SigningKeys, folder: Path) -> bytes:
    """Return a signature of the bundle in a folder."""
    with tempfile.TemporaryDirectory(prefix="nearline-signature-") as temporary:
        target = Path(temporary) / SIGNATURE_FILE
        sign_files(folder, keys, target)
        return target.read_bytes()


def store_signature(artifacts: FsspecArtifacts, digest: str, signature: bytes) -> BundleSignature:
    """Store a signature beside the bundle that it is for."""
    sha256 = hashlib.sha256(signature).hexdigest()
    with tempfile.TemporaryDirectory(prefix="nearline-signature-") as temporary:
        source = Path(temporary) / SIGNATURE_FILE
        source.write_bytes(signature)
        # Named by its content: each signature differs, and what is stored under a name stays as it is.
        uri = artifacts.put_at(f"sha256/{digest[:2]}/{digest}.signatures/{sha256}", {SIGNATURE_FILE: source})
    return BundleSignature(uri, sha256, len(signature))
