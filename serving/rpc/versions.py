"""Versions as the Open Inference Protocol writes them."""

from serving.errors import InvalidRequestError

_DIGITS = 19
"""Of 2**63."""


def version_of(text: str) -> int | None:
    """Return the version, None for no particular one; InvalidRequestError."""
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > _DIGITS or int(text) < 1:
        raise InvalidRequestError("model_version", "a positive integer, or nothing", repr(text[:40]))
    return int(text)
