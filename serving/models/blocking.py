"""Items that must not be shown: looked for in encoded answers, so that a hit without one of them stays a hit."""

from collections.abc import Mapping
from dataclasses import dataclass

from protos.nearline.v1 import recommender_pb2
from serving.models.encoding import item_field

_FEW = 8
"""Up to so many are looked for one by one in the bytes, at 0.3 us each; decoding the ids of 20 items takes 2 us."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """Items, and until when each is hidden (milliseconds since the epoch; 0 = for ever). `pieces`: a few, encoded."""

    until: Mapping[str, int]
    pieces: tuple[bytes, ...]

    @classmethod
    def of(cls, until: Mapping[str, int]) -> "Blocked":
        """Prepare; once a swap."""
        return cls(until, tuple(map(item_field, until)) if len(until) <= _FEW else ())

    def hides(self, item: str, now_ms: int) -> bool:
        """Tell whether it must not be shown now."""
        until_ms = self.until.get(item)
        return until_ms is not None and (not until_ms or until_ms > now_ms)

    def may_be_in(self, message: bytes) -> bool:
        """Tell whether one of them, hidden now or not any more, may stand in an encoded answer."""
        if len(self.until) <= _FEW:
            return any(piece in message for piece in self.pieces)
        return not self.until.keys().isdisjoint(recommender_pb2.RecommendResponse.FromString(message).item_ids)


@dataclass(frozen=True, slots=True)
class Hidden:
    """What one answer must not hold: what the request excludes, and what is blocked now."""

    exclude: frozenset[str]
    blocked: Blocked
    now_ms: int

    def __contains__(self, item: object) -> bool:
        return item in self.exclude or (isinstance(item, str) and self.blocked.hides(item, self.now_ms))

    def may_be_in(self, message: bytes) -> bool:
        """Tell whether something of it may stand in an encoded answer; False = surely nothing does."""
        return bool(self.exclude) or self.blocked.may_be_in(message)
