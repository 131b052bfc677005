"""The kind of an answer, from its encoded message: `Plan.read`."""

from protos.nearline.v1 import recommender_pb2

UNSPECIFIED = "UNSPECIFIED"
_KINDS = {
    recommender_pb2.RecommendResponse(source=source).SerializeToString(): name.removeprefix("FROM_")
    for name, source in recommender_pb2.Source.items()
    if source
}
"""`source` as it ends an answer: it has the highest number of all fields, and a node appends it."""


def source_of(message: bytes) -> str:
    """Return NEARLINE, ONLINE or FALLBACK of a RecommendResponse."""
    kind = _KINDS.get(message[-2:])
    if kind is not None:
        return kind
    source = recommender_pb2.RecommendResponse.FromString(message).source
    return recommender_pb2.Source.Name(source).removeprefix("FROM_").removeprefix("SOURCE_")


def answered(_message: bytes) -> str:
    """Every answer is of one kind."""
    return "ANSWER"
