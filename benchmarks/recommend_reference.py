"""The reference of P4: `grpc.aio` as a server of Recommend, as one would write it, with the session of our workers.

python -m benchmarks.recommend_reference FOLDER COUNT    FOLDER holds the graph; says its port on a line

It is spared the store: the inputs of its customers lie ready in memory.
"""

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from benchmarks.loads import bought, customers
from benchmarks.nodes import SERVER_CORE, pin
from benchmarks.shop import HISTORY, items
from protos.nearline.v1 import recommender_pb2 as pb
from protos.nearline.v1 import recommender_pb2_grpc
from serving.bundles.session import ModelSession

_PURCHASES = 5


class _Servicer(recommender_pb2_grpc.RecommenderServicer):
    def __init__(self, session: ModelSession, inputs: dict[str, NDArray[np.int64]]) -> None:
        self._session = session
        self._inputs = inputs
        self._ids = items()

    async def Recommend(self, request: pb.RecommendRequest, _context: Any) -> pb.RecommendResponse:  # noqa: N802 - gRPC's
        rows, scores = self._session.run({"history": self._inputs[request.entity_id]}, ("items", "scores"))
        return pb.RecommendResponse(
            item_ids=[self._ids[row] for row in rows[0].tolist()],
            scores=scores[0].tolist(),
            model="shop",
            version=1,
            computed_at_ms=time.time_ns() // 1_000_000,
            source=pb.FROM_ONLINE,
        )

    async def RecommendBatch(self, request: pb.RecommendBatchRequest, context: Any) -> Any:  # noqa: N802 - gRPC's
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"not for {len(request.entity_ids)}, not for any")


async def main() -> None:
    """Serve until killed."""
    inputs: dict[str, NDArray[np.int64]] = {}
    for number, entity in enumerate(customers(int(sys.argv[2]))):
        inputs[entity] = np.full((1, HISTORY), -1, np.int64)
        inputs[entity][0, :_PURCHASES] = [bought(number, turn) for turn in range(_PURCHASES)]
    server = grpc.aio.server()
    servicer = _Servicer(ModelSession.open(Path(sys.argv[1])), inputs)
    recommender_pb2_grpc.add_RecommenderServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    await server.wait_for_termination()


if __name__ == "__main__":
    pin(SERVER_CORE)
    asyncio.run(main())
