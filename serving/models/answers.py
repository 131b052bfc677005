"""Predictions as they are stored and sent: the time of computing (8 bytes, milliseconds), then the encoded answer."""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from struct import Struct

from protos.nearline.v1 import recommender_pb2

_HEAD = Struct(">q")

SOURCE_BYTES = {
    source: recommender_pb2.RecommendResponse(source=source).SerializeToString()
    for source in (recommender_pb2.FROM_NEARLINE, recommender_pb2.FROM_ONLINE, recommender_pb2.FROM_FALLBACK)
}
"""Encoded `source` fields, to be appended."""

PREDICTIONS = b"p"
"""The store's space of predictions."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a version answers for an entity: item ids with descending scores, computed then."""

    item_ids: Sequence[str]
    scores: Sequence[float]
    model: str
    version: int
    computed_at_ms: int

    def message(self) -> bytes:
        """Return the encoded RecommendResponse, without its source."""
        return recommender_pb2.RecommendResponse(
            item_ids=self.item_ids,
            scores=self.scores,
            model=self.model,
            version=self.version,
            computed_at_ms=self.computed_at_ms,
        ).SerializeToString()

    def without(self, hidden: Container[str]) -> "Answer":
        """What is left when these items must not be in it."""
        pairs = [(i, s) for i, s in zip(self.item_ids, self.scores, strict=True) if i not in hidden]
        return Answer([i for i, _ in pairs], [s for _, s in pairs], self.model, self.version, self.computed_at_ms)

    def first(self, k: int) -> "Answer":
        """The first `k` items."""
        return Answer(self.item_ids[:k], self.scores[:k], self.model, self.version, self.computed_at_ms)


def entry(message: bytes, computed_at_ms: int) -> bytes:
    """Return what is stored of an encoded answer."""
    return _HEAD.pack(computed_at_ms) + message


def computed_at(stored: bytes) -> int:
    """Return the time of computing, in milliseconds, of what is stored."""
    found: int = _HEAD.unpack_from(stored)[0]
    return found


def message_of(stored: bytes) -> bytes:
    """Return the encoded answer of what is stored."""
    return stored[_HEAD.size :]


def read_message(message: bytes) -> Answer:
    """Decode an answer, for the requests that want a part of it."""
    said = recommender_pb2.RecommendResponse.FromString(message)
    return Answer(list(said.item_ids), list(said.scores), said.model, said.version, said.computed_at_ms)
