"""The demo's gRPC client: what any client would do, with the generated stubs."""

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import grpc

from protos.nearline.v1 import recommender_pb2, recommender_pb2_grpc

Answer = recommender_pb2.RecommendResponse
_AT_ONCE = 500
_DEADLINE_S = 30.0


class Client:
    """Asks one node for one model."""

    def __init__(self, address: str, model: str, k: int) -> None:
        self._channel = grpc.insecure_channel(address, options=(("grpc.use_local_subchannel_pool", 1),))
        self._stub: Any = recommender_pb2_grpc.RecommenderStub(self._channel)
        self._model = model
        self._k = k

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()

    def one(self, entity_id: str, context: Mapping[str, str] | None = None) -> Answer:
        """Ask for one entity, with features of the request; grpc.RpcError."""
        features = {name: recommender_pb2.Feature(text=text) for name, text in (context or {}).items()}
        request = recommender_pb2.RecommendRequest(
            objective=self._model, entity_id=entity_id, k=self._k, context=features
        )
        answer: Answer = self._stub.Recommend(request, timeout=_DEADLINE_S)
        return answer

    def many(self, entity_ids: Iterable[str]) -> list[Answer]:
        """Ask for any number of entities; answers in the same order."""
        ids: Sequence[str] = list(entity_ids)
        answers: list[Answer] = []
        for start in range(0, len(ids), _AT_ONCE):
            request = recommender_pb2.RecommendBatchRequest(
                objective=self._model, entity_ids=ids[start : start + _AT_ONCE], k=self._k
            )
            answers += self._stub.RecommendBatch(request, timeout=_DEADLINE_S).responses
        return answers
