"""Rules for the names that cross process borders, checked at the edge where they come in."""

import re

MODEL_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
LABEL_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62})")
DIGEST = re.compile(r"[0-9a-f]{64}")
MAX_ENTITY_BYTES = 256
"""Kept short because LMDB's keys end at 511 bytes, and ours hold model, version and digest, too."""


class InvalidNameError(ValueError):
    """A name breaks its rule; the message names field, expected and actual."""


def check_model_name(name: str) -> str:
    """Return `name`, or raise InvalidNameError."""
    if not MODEL_NAME.fullmatch(name):
        raise InvalidNameError(f"model name: expected {MODEL_NAME.pattern}, got {name[:80]!r}")
    return name


def check_label(text: str) -> str:
    """Return `text` (a node's or worker's name, a label's name or value), or raise InvalidNameError."""
    if not LABEL_NAME.fullmatch(text):
        raise InvalidNameError(f"name or label: expected {LABEL_NAME.pattern}, got {text[:80]!r}")
    return text


def check_version(version: int) -> int:
    """Return `version`, or raise InvalidNameError."""
    if not 1 <= version < 1 << 63:
        raise InvalidNameError(f"version: expected a positive integer below 2**63, got {version}")
    return version


def check_digest(digest: str) -> str:
    """Return `digest`, or raise InvalidNameError."""
    if not DIGEST.fullmatch(digest):
        raise InvalidNameError(f"digest: expected 64 lower-case hex digits (SHA-256), got {digest[:80]!r}")
    return digest


def entity_key(entity_id: str) -> bytes:
    """Return the bytes of an entity's id: the key of its events. Raise InvalidNameError when it cannot be one."""
    try:
        key = entity_id.encode()
    except UnicodeEncodeError as error:
        raise InvalidNameError(f"entity_id: expected valid UTF-8, got {error.reason}") from error
    if not key:
        raise InvalidNameError("entity_id: expected 1 to 256 bytes of UTF-8, got an empty string")
    if len(key) > MAX_ENTITY_BYTES:
        raise InvalidNameError(f"entity_id: expected at most {MAX_ENTITY_BYTES} bytes of UTF-8, got {len(key)}")
    return key
