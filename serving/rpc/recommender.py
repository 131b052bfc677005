"""`nearline.v1.Recommender`: translates messages to the use case."""

from collections.abc import Sequence
from functools import lru_cache

from protos.nearline.v1 import recommender_pb2
from serving.errors import InvalidRequestError
from serving.models.encoding import varint
from serving.recommend.hits import Hits
from serving.recommend.query import MAX_ENTITIES, Query
from serving.recommend.recommend import Recommender
from serving.rpc.method import Abandon, Answering, AnsweringAll, Call, Kind, Method, decoded

_SERVICE = "/nearline.v1.Recommender"
_REMEMBERED, _REMEMBERED_BYTES = 4_096, 512


class RecommenderService:
    """Answers stay encoded from the store to the socket."""

    def __init__(self, recommender: Recommender, hits: Hits | None = None) -> None:
        self._recommender = recommender
        self._hits = hits

    def methods(self) -> list[Method]:
        """What the transport serves."""
        now, spare = (None, None) if self._hits is None else (self._hits.answers, self._hits.spare)
        one = recommender_pb2.RecommendRequest
        return [
            Method(
                f"{_SERVICE}/Recommend",
                Kind.UNARY,
                one,
                self._recommend,
                now,
                self._begin,
                self._begin_all,
                spare=spare,
            ),
            Method(f"{_SERVICE}/RecommendBatch", Kind.UNARY, recommender_pb2.RecommendBatchRequest, self._batch),
        ]

    def _begin(self, message: bytes, deadline: float | None, answering: Answering) -> Abandon | None:
        query, entity_id = _asked(message) if len(message) <= _REMEMBERED_BYTES else _read(message)
        return self._recommender.begin(query, entity_id, deadline, answering)

    def _begin_all(self, messages: Sequence[bytes], deadline: float | None, answering: AnsweringAll) -> Abandon | None:
        if max(map(len, messages)) > _REMEMBERED_BYTES:
            return None
        return self._recommender.begin_all([_asked(message) for message in messages], deadline, answering)

    async def _recommend(self, request: recommender_pb2.RecommendRequest, call: Call) -> bytes:
        return await self._recommender.recommend(_query(request), request.entity_id, call.deadline)

    async def _batch(self, request: recommender_pb2.RecommendBatchRequest, call: Call) -> bytes:
        if len(request.entity_ids) > MAX_ENTITIES:
            raise InvalidRequestError("entity_ids", f"at most {MAX_ENTITIES}", len(request.entity_ids))
        answers = await self._recommender.recommend_all(_query(request), request.entity_ids, call.deadline)
        # Field 1, length-delimited, for each: the encoding of `repeated RecommendResponse responses = 1`.
        return b"".join(b"\x0a" + varint(len(answer)) + answer for answer in answers)


def _read(message: bytes) -> tuple[Query, str]:
    request: recommender_pb2.RecommendRequest = decoded(recommender_pb2.RecommendRequest, message)
    return _query(request), request.entity_id


_asked = lru_cache(_REMEMBERED)(_read)


def _query(request: recommender_pb2.RecommendRequest | recommender_pb2.RecommendBatchRequest) -> Query:
    return Query(
        objective=request.objective,
        k=request.k,
        exclude=frozenset(request.exclude),
        max_age_ms=request.max_age_ms,
        test=request.traffic == recommender_pb2.TEST,
        context={name: _value(name, feature) for name, feature in request.context.items()} if request.context else {},
    )


def _value(name: str, feature: recommender_pb2.Feature) -> float | str:
    kind = feature.WhichOneof("kind")
    if kind is None:
        raise InvalidRequestError(f"context.{name}", "a number or a text", "neither")
    return feature.number if kind == "number" else feature.text
