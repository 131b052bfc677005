"""The part of an encoded answer that a request asks for."""

from serving.models.answers import Answer, read_message
from serving.models.blocking import Hidden
from serving.models.encoding import first_items


def part(message: bytes, k: int, hidden: Hidden, width: int, *, whole: bool) -> bytes | None:
    """The part of a stored answer that is asked for; None where more was asked for than was stored of it.

    k: 0 = all that the model gives, which is `width` items at most. whole: all that there is was stored.
    """
    if hidden.may_be_in(message):
        kept = read_message(message).without(hidden)
        if len(kept.item_ids) < (k or width) and not whole:
            return None
        return _first(kept, k).message()
    if not k:
        return message if whole else None
    cut, found = first_items(message, k)
    return cut if whole or found == k else None


def narrowed(message: bytes, k: int, hidden: Hidden) -> bytes:
    """The part of an answer that holds all that there is."""
    found = part(message, k, hidden, 0, whole=True)
    assert found is not None  # noqa: S101 - there is no more
    return found


def _first(answer: Answer, k: int) -> Answer:
    return answer.first(k) if k else answer
