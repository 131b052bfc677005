"""The limits that port.py names, checked the same way by every adapter, before anything is written."""

from collections.abc import Iterable, Sequence

from serving.errors import InvalidRequestError
from serving.store.port import MAX_KEY, MAX_NAME, MAX_SCORE, Change, Rank


def check_name(name: bytes) -> None:
    """Refuse what cannot be a space or ranking."""
    if not 0 < len(name) <= MAX_NAME:
        raise InvalidRequestError("name", f"1 to {MAX_NAME} bytes", f"{len(name)} bytes")


def check_keys(keys: Sequence[bytes]) -> None:
    """Refuse keys and members that are too long."""
    if keys and max(map(len, keys)) > MAX_KEY:
        raise InvalidRequestError("key", f"at most {MAX_KEY} bytes", f"{max(map(len, keys))} bytes")


def check_limit(limit: int) -> None:
    """Refuse a page of nothing."""
    if limit < 1:
        raise InvalidRequestError("limit", "at least 1", limit)


def check_changes(changes: Iterable[Change | Rank]) -> None:
    """Refuse a batch with a key or score that no store could keep; names are checked where prefixes are made."""
    for change in changes:
        if len(change[1]) > MAX_KEY:
            check_keys([change[1]])
        if isinstance(change, Rank) and change.score is not None and not 0 <= change.score <= MAX_SCORE:
            raise InvalidRequestError("score", f"0 to {MAX_SCORE}", change.score)
