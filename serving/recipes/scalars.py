"""Values of an event's fields, as features see them: text, number, or hash of a text. Pure.

The same rules hold near-line and in training: what is no value here is no event for the feature.
"""

from xxhash import xxh3_64_digest

MAX_TEXT = 256
"""Characters. What is longer than an item's id can be none, and must not fill the store."""

Scalar = str | int | float | bool | None


def text_of(value: Scalar) -> str | None:
    """Return the text, of a number as JSON writes it; None for nothing, an empty one and one that is too long."""
    if type(value) is str:
        return value if 0 < len(value) <= MAX_TEXT else None
    if value is None:
        return None
    if value is True or value is False:
        return "true" if value else "false"
    text = str(value)
    return text if len(text) <= MAX_TEXT else None


def number_of(value: Scalar) -> float | None:
    """Return the number, of a boolean 1 or 0; None for what is none."""
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:
            return None
    return None


def hash_of(text: str) -> bytes:
    """Return the eight bytes that stand for a text in an entity's state."""
    return xxh3_64_digest(text.encode())
