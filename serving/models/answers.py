"""Predictions as they are stored and sent: an encoded RecommendResponse without its source.

A near-line worker stores the encoded answer, and a hit is one read plus a few appended bytes: protobuf merges
fields that follow. The entry is the time of computing (8 bytes, milliseconds), then the message.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct

from protos.nearline.v1 import recommender_pb2
from serving.models.loaded import LoadedModel

_HEAD = Struct(">q")

SOURCE_BYTES = {
    source: recommender_pb2.RecommendResponse(source=source).SerializeToString()
    for source in (recommender_pb2.FROM_NEARLINE, recommender_pb2.FROM_ONLINE, recommender_pb2.FROM_FALLBACK)
}
"""Encoded `source` fields, to be appended."""

PREDICTIONS = b"p"
"""The store's space of predictions."""


def prediction_key(loaded: LoadedModel, entity: bytes) -> bytes:
    """Key in the store. It names the digest, too: a topic that is created again reuses versions."""
    return b"%s\0%d\0%s\0%s" % (loaded.model.encode(), loaded.version, bytes.fromhex(loaded.digest[:16]), entity)


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

    def entry(self) -> bytes:
        """Return what is stored."""
        return _HEAD.pack(self.computed_at_ms) + self.message()

    def narrowed(self, k: int, exclude: frozenset[str]) -> "Answer":
        """The first `k` items (0 = all) that are not excluded."""
        pairs = [(i, s) for i, s in zip(self.item_ids, self.scores, strict=True) if i not in exclude]
        pairs = pairs[:k] if k else pairs
        return Answer([i for i, _ in pairs], [s for _, s in pairs], self.model, self.version, self.computed_at_ms)


def read_entry(entry: bytes) -> tuple[int, bytes]:
    """Split a stored entry into the time of computing (ms) and the encoded message."""
    return _HEAD.unpack_from(entry)[0], entry[_HEAD.size :]


def read_message(message: bytes) -> Answer:
    """Decode a stored message, for the requests that want a part of it."""
    said = recommender_pb2.RecommendResponse.FromString(message)
    return Answer(list(said.item_ids), list(said.scores), said.model, said.version, said.computed_at_ms)
