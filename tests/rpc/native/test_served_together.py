"""What one read asks for, through the transport, the service and a real model."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from protos.inference import inference_pb2 as pb
from protos.nearline.v1.recommender_pb2 import RecommendRequest, RecommendResponse
from serving.models.loaded import LoadedModel
from serving.models.table import ActiveTable
from serving.recommend.batcher import Batcher
from serving.recommend.infer import Inference
from serving.recommend.misses import Misses
from serving.recommend.recommend import Recommender
from serving.rpc.inference import InferenceService
from serving.rpc.native.routes import routes
from serving.rpc.recommender import RecommenderService
from tests.builders.bundles import load, serve
from tests.builders.buses import TOPICS, Connect
from tests.builders.graphs import N
from tests.recommend.test_recommend_all import Empty
from tests.rpc.native.test_quick import HEAD, Client

OK, INVALID = "0", "3"
INFER, RECOMMEND = "/inference.GRPCInferenceService/ModelInfer", "/nearline.v1.Recommender/Recommend"


class Served(Client):
    """A client of a worker's methods, in front of one model."""

    def __init__(self, loaded: LoadedModel, folder: Path) -> None:
        super().__init__(65_535)
        table, metrics = ActiveTable(), self.stage.metrics
        serve(table, loaded)
        self.batcher = Batcher(metrics, 64)
        misses = Misses(Connect(folder), TOPICS)
        recommender = Recommender(table, Empty(), self.batcher, misses, metrics, lambda: 4)
        services = InferenceService(Inference(table, self.batcher), lambda: True, "1"), RecommenderService(recommender)
        for service in services:
            self.house.routes.update(routes(service.methods(), metrics))

    def send(self, path: str, message: bytes) -> int:
        stream: int = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, [*HEAD[:2], (":path", path), *HEAD[2:]])
        self.h2.send_data(stream, b"\0" + len(message).to_bytes(4, "big") + message, end_stream=True)
        return stream

    async def answered(self, path: str, *messages: bytes) -> dict[int, bytes]:
        """All of them in one read; the answer of each that has one, by stream."""
        streams = [self.send(path, message) for message in messages]
        self.carry()
        while not self.statuses.keys() >= set(streams):
            await asyncio.sleep(0.001)
            self.carry()
        assert self.settled()
        return {stream: self.bodies[stream][5:] for stream in streams if stream in self.bodies}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load(tmp_path_factory.mktemp("bundle"), "m", 3)


@pytest.fixture
def play(loaded: LoadedModel, tmp_path: Path) -> Callable[[Callable[[Served], object]], None]:
    def run(scene: Callable[[Served], object]) -> None:
        async def all_of_it() -> None:
            served = Served(loaded, tmp_path)
            await scene(served)  # type: ignore[misc]  # scenes are coroutines
            served.batcher.close()
            assert loaded._leases == 0

        asyncio.run(all_of_it())

    return run


def history(item: int) -> bytes:
    values = np.full((1, N), item, np.int64)
    made = pb.ModelInferRequest(model_name="m", raw_input_contents=[values.tobytes()])
    made.inputs.add(name="history", datatype="INT64", shape=values.shape)
    return made.SerializeToString()


def test_bad_values_are_an_error_of_the_one_that_has_them(play: Callable[[Callable[[Served], object]], None]) -> None:
    async def scene(served: Served) -> None:
        expected = [(await served.answered(INFER, history(item))).popitem()[1] for item in (1, 2, 3)]
        found = await served.answered(INFER, history(1), history(10**9), history(2), history(3))
        assert [served.statuses[stream] for stream in sorted(served.statuses)[-4:]] == [OK, INVALID, OK, OK]
        assert list(found.values()) == expected

    play(scene)


def test_each_entity_gets_what_it_gets_by_itself(play: Callable[[Callable[[Served], object]], None]) -> None:
    async def scene(served: Served) -> None:
        asked = [RecommendRequest(objective="m", entity_id=f"e{n}", k=n % 3) for n in range(6)]
        asked.append(RecommendRequest(objective="other", entity_id="e"))
        messages = [request.SerializeToString() for request in asked]
        alone = [(await served.answered(RECOMMEND, message), dict(served.statuses)) for message in messages]
        before = len(served.statuses)
        together = await served.answered(RECOMMEND, *messages)
        statuses = [served.statuses[stream] for stream in sorted(served.statuses)]
        assert statuses[before:] == statuses[:before] == [OK] * 6 + ["5"]
        expected = [RecommendResponse.FromString(body) for found, _ in alone for body in found.values()]
        found = [RecommendResponse.FromString(body) for body in together.values()]
        for answer in (*expected, *found):
            answer.computed_at_ms = 0
        assert found == expected

    play(scene)
