"""Key pairs of publishers: Ed25519 for what they say on the ledger, ECDSA P-256 for their bundles.

OpenSSF model signing knows no Ed25519, so a publisher has one of each; both stand in one PEM file, the private ones and
the public ones, and one fingerprint names the pair.
"""

import hashlib
import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from serving.errors import InvalidRequestError, UserError

PRIVATE, PUBLIC = ".key", ".pub"
_BLOCK = re.compile(rb"-----BEGIN ([A-Z ]+)-----.+?-----END \1-----\n?", re.DOTALL)
_PAIR = 2
_SHORT = 16


def short(key_id: str) -> str:
    """As much of a fingerprint as people compare."""
    return key_id[:_SHORT] or "none"


@dataclass(frozen=True)
class PublicKeys:
    """What everybody may know of a publisher."""

    statements: Ed25519PublicKey
    bundles: EllipticCurvePublicKey

    @cached_property
    def id(self) -> str:
        """Fingerprint: SHA-256, in hex, over the DER encodings of both keys."""
        return hashlib.sha256(_der(self.statements) + _der(self.bundles)).hexdigest()

    @property
    def bundles_pem(self) -> bytes:
        """The key of bundles, as model signing reads it."""
        return _pem(self.bundles)

    @property
    def pem(self) -> bytes:
        """Both of them, as they are handed out."""
        return _pem(self.statements) + _pem(self.bundles)

    def verify(self, signature: bytes, data: bytes) -> bool:
        """Tell whether the publisher signed this as a statement."""
        try:
            self.statements.verify(signature, data)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, repr=False)
class SigningKeys:
    """What a publisher keeps secret."""

    statements: Ed25519PrivateKey
    bundles: EllipticCurvePrivateKey

    @cached_property
    def public(self) -> PublicKeys:
        """What belongs to them."""
        return PublicKeys(self.statements.public_key(), self.bundles.public_key())

    def sign(self, data: bytes) -> bytes:
        """Sign a statement: 64 bytes."""
        return self.statements.sign(data)

    @property
    def bundles_pem(self) -> bytes:
        """The key of bundles, as model signing reads it."""
        return _private_pem(self.bundles, b"")


def create_keys(folder: Path, name: str, passphrase: str = "") -> PublicKeys:
    """Make `<folder>/<name>.key`, which nobody else may read, and `<name>.pub`. UserError when there is one."""
    keys = SigningKeys(Ed25519PrivateKey.generate(), generate_ec(SECP256R1()))
    secret = passphrase.encode()
    private = _private_pem(keys.statements, secret) + _private_pem(keys.bundles, secret)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / f"{name}{PRIVATE}", private, 0o600)
        _write(folder / f"{name}{PUBLIC}", keys.public.pem, 0o644)
    except FileExistsError as error:
        raise UserError(f"key: expected a new name, got {name!r}, and {error.filename} exists") from error
    except OSError as error:
        raise UserError(f"key: {error.filename}: {error.strerror}") from error
    return keys.public


def read_signing_keys(path: Path, passphrase: str = "") -> SigningKeys:
    """Read a private key file; UserError says what is wrong with it, or that its passphrase is missing."""
    blocks = [block.group() for block in _BLOCK.finditer(_read(path))]
    secret = passphrase.encode() or None
    if passphrase and blocks and b"ENCRYPTED" not in blocks[0]:
        secret = None  # one that is set for another key is no reason to stop
    try:
        loaded = [serialization.load_pem_private_key(block, secret) for block in blocks]
    except TypeError:
        raise UserError(
            f"signing key: {path} is encrypted; give its passphrase in NEARLINE_SIGNING_PASSPHRASE"
        ) from None
    except (ValueError, UnsupportedAlgorithm) as error:
        reason = "that passphrase does not open it" if secret else str(error)
        raise UserError(f"signing key: expected a file of `nearline keys new`, got {path}: {reason}") from None
    match loaded:
        case [Ed25519PrivateKey() as statements, EllipticCurvePrivateKey() as bundles]:
            return SigningKeys(statements, bundles)
    raise UserError(f"signing key: expected a file of `nearline keys new`, got {path} with other keys in it")


def read_public_keys(pem: bytes, where: str) -> PublicKeys:
    """Read public keys as `nearline keys new` wrote them; InvalidRequestError names `where` they came from."""
    blocks = [block.group() for block in _BLOCK.finditer(pem)]
    if any(b"PRIVATE" in block for block in blocks):
        raise InvalidRequestError(where, "public keys, from a file that ends in .pub", "private ones: keep them secret")
    try:
        loaded = [serialization.load_pem_public_key(block) for block in blocks]
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidRequestError(where, "public keys in PEM", error) from None
    match loaded:
        case [Ed25519PublicKey() as statements, EllipticCurvePublicKey(curve=SECP256R1()) as bundles]:
            return PublicKeys(statements, bundles)
    found = f"{len(loaded)} keys" if len(loaded) != _PAIR else "others"
    raise InvalidRequestError(where, "an Ed25519 and a P-256 public key, as `nearline keys new` writes them", found)


def _write(path: Path, data: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"signing key: {path}: {error.strerror}") from error


def _der(key: Ed25519PublicKey | EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _pem(key: Ed25519PublicKey | EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _private_pem(key: Ed25519PrivateKey | EllipticCurvePrivateKey, passphrase: bytes) -> bytes:
    encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
