"""`nearline.v1.Recommender`: translates messages to the use case."""

from protos.nearline.v1 import recommender_pb2
from serving.errors import InvalidRequestError
from serving.recommend.recommend import MAX_ENTITIES, Query, Recommender
from serving.rpc.method import Call, Kind, Method

_SERVICE = "/nearline.v1.Recommender"


class RecommenderService:
    """Answers stay encoded from the store to the socket."""

    def __init__(self, recommender: Recommender) -> None:
        self._recommender = recommender

    def methods(self) -> list[Method]:
        """What the transport serves."""
        return [
            Method(f"{_SERVICE}/Recommend", Kind.UNARY, recommender_pb2.RecommendRequest, self._recommend),
            Method(f"{_SERVICE}/RecommendBatch", Kind.UNARY, recommender_pb2.RecommendBatchRequest, self._batch),
        ]

    async def _recommend(self, request: recommender_pb2.RecommendRequest, _call: Call) -> bytes:
        return await self._recommender.recommend(_query(request), request.entity_id)

    async def _batch(self, request: recommender_pb2.RecommendBatchRequest, _call: Call) -> bytes:
        if len(request.entity_ids) > MAX_ENTITIES:
            raise InvalidRequestError("entity_ids", f"at most {MAX_ENTITIES}", len(request.entity_ids))
        answers = await self._recommender.recommend_all(_query(request), request.entity_ids)
        # Field 1, length-delimited, for each: the encoding of `repeated RecommendResponse responses = 1`.
        return b"".join(b"\x0a" + _varint(len(answer)) + answer for answer in answers)


def _query(request: recommender_pb2.RecommendRequest | recommender_pb2.RecommendBatchRequest) -> Query:
    return Query(
        objective=request.objective,
        k=request.k,
        exclude=frozenset(request.exclude),
        max_age_ms=request.max_age_ms,
        test=request.traffic == recommender_pb2.TEST,
    )


def _varint(number: int) -> bytes:
    """Base-128, least significant group first (protobuf's wire format)."""
    out = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits a byte
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
