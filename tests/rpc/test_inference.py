"""GRPCInferenceService: translating messages to the use case."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from protos.inference import inference_pb2 as pb
from serving.bundles.datatypes import DATATYPES, numpy_dtype
from serving.errors import InvalidRequestError, NotFoundError
from serving.models.table import ActiveTable
from serving.recommend.batcher import Batcher
from serving.recommend.infer import Inference
from serving.rpc.inference import InferenceService
from serving.telemetry.metrics import Metrics
from tests.builders.bundles import load, serve
from tests.builders.graphs import doubler, mirror
from tests.rpc.calls import CALL, handler, stream


class Asking:
    """Calls the service as a transport does: bytes in, bytes out."""

    def __init__(self, service: InferenceService) -> None:
        self.methods = service.methods()
        self._read: Any = next(method.request for method in self.methods if method.path.endswith("/ModelInfer"))

    async def __call__(self, name: str, request: Any) -> Any:
        call = handler(self.methods, name)
        if name != "ModelInfer":
            return await call(request, CALL)
        return pb.ModelInferResponse.FromString(await call(self._read.FromString(request.SerializeToString()), CALL))

    async def stream(self, requests: AsyncIterator[Any]) -> AsyncIterator[pb.ModelStreamInferResponse]:
        sent = (self._read.FromString(request.SerializeToString()) async for request in requests)
        async for reply in handler(self.methods, "ModelStreamInfer")(sent, CALL):
            yield pb.ModelStreamInferResponse.FromString(reply) if isinstance(reply, bytes) else reply


@asynccontextmanager
async def inference(
    table: ActiveTable, *, ready: bool = True, registry: CollectorRegistry | None = None
) -> AsyncIterator[Asking]:
    batcher = Batcher(Metrics(registry or CollectorRegistry()), 64)
    yield Asking(InferenceService(Inference(table, batcher), lambda: ready, "1.2.3"))
    batcher.close()


@pytest.fixture
def table(tmp_path: Path) -> ActiveTable:
    table = ActiveTable()
    serve(table, load(tmp_path / "d", "d", 2, doubler()))
    serve(table, load(tmp_path / "m", "m", 3))
    return table


def request(model: str = "d", version: str = "", *rows: float, width: int = 2) -> pb.ModelInferRequest:
    data = np.array([[row] * width for row in rows or (1,)], np.float32)
    made = pb.ModelInferRequest(model_name=model, model_version=version, id="7", raw_input_contents=[data.tobytes()])
    made.inputs.add(name="x", datatype="FP32", shape=data.shape)
    return made


def test_a_model_is_run_and_the_answer_says_by_which_version(table: ActiveTable) -> None:
    async def scene() -> None:
        async with inference(table) as ask:
            reply = await ask("ModelInfer", request("d", "", 1, 2))
        assert (reply.model_name, reply.model_version, reply.id) == ("d", "2", "7")
        assert np.frombuffer(reply.raw_output_contents[0], np.float32).tolist() == [2, 2, 4, 4]
        assert (reply.outputs[0].name, reply.outputs[0].datatype, list(reply.outputs[0].shape)) == ("y", "FP32", [2, 2])

    asyncio.run(scene())


def test_a_stream_answers_each_request_in_order_and_survives_bad_ones(table: ActiveTable) -> None:
    async def scene() -> None:
        async with inference(table) as ask:
            requests = stream(request("d", "", 1), request("no"), request("d", "x"), request("d", "", 3))
            replies = [reply async for reply in ask.stream(requests)]
        assert [bool(reply.error_message) for reply in replies] == [False, True, True, False]
        assert replies[1].infer_response.id == "7"
        assert "'no'" in replies[1].error_message

    asyncio.run(scene())


@pytest.mark.parametrize("left_out", ["BF16", "BYTES"])
def test_every_datatype_goes_in_and_comes_out_beside_the_others_and_with_axes_of_any_size(
    tmp_path: Path, left_out: str
) -> None:
    """Requests of the same width share a run."""
    datatypes = [name for name in DATATYPES if name != left_out]
    table, registry = ActiveTable(), CollectorRegistry()
    serve(table, load(tmp_path, "mirror", 1, mirror(left_out)))

    def mirrored(rows: int, width: int) -> tuple[pb.ModelInferRequest, list[bytes]]:
        made = pb.ModelInferRequest(model_name="mirror")
        for datatype in datatypes:
            made.inputs.add(name=datatype, datatype=datatype, shape=[rows, width])
            array = np.arange(rows * width, dtype="i8") % 2
            numbers = array.astype(numpy_dtype(datatype)).tobytes() if datatype != "BYTES" else b""
            texts = b"".join(b"\2\0\0\0" + "\xe9".encode() for _ in array)
            made.raw_input_contents.append(numbers if datatype != "BYTES" else texts)
            made.outputs.add(name=f"{datatype} again")
        return made, list(made.raw_input_contents)

    async def scene() -> None:
        sent = [mirrored(*shape) for shape in ((1, 3), (2, 3), (1, 5), (2, 0))]
        async with inference(table, registry=registry) as ask:
            replies = await asyncio.gather(*(ask("ModelInfer", request) for request, _ in sent))
        for reply, (request, values) in zip(replies, sent, strict=True):
            assert list(reply.raw_output_contents) == values
            assert [o.name for o in reply.outputs] == [f"{name} again" for name in datatypes]
            assert [o.datatype for o in reply.outputs] == datatypes
            assert {tuple(o.shape) for o in reply.outputs} == {tuple(request.inputs[0].shape)}

    asyncio.run(scene())
    assert registry.get_sample_value("nearline_online_batch_rows_count", {"model": "mirror"}) == 3


def test_the_requests_of_a_stream_run_together(table: ActiveTable) -> None:
    async def scene() -> None:
        registry = CollectorRegistry()
        async with inference(table, registry=registry) as ask:
            replies = [reply async for reply in ask.stream(stream(*(request("d", "", n) for n in range(40))))]
            found = [np.frombuffer(r.infer_response.raw_output_contents[0], np.float32)[0] for r in replies]
        assert found == [2 * n for n in range(40)]
        runs = registry.get_sample_value("nearline_online_batch_rows_count", {"model": "d"})
        assert runs is not None
        assert runs < 20

    asyncio.run(scene())


@pytest.mark.parametrize("version", ["0", "-1", "x", "1.0", "9" * 20, "²", " 1"])
def test_a_version_is_a_positive_number(version: str, table: ActiveTable) -> None:
    async def scene() -> None:
        async with inference(table) as ask:
            with pytest.raises(InvalidRequestError, match=r"^model_version: expected a positive integer"):
                await ask("ModelInfer", request("d", version))

    asyncio.run(scene())


def test_metadata_and_readiness(table: ActiveTable) -> None:
    async def scene() -> None:
        async with inference(table) as ask:
            metadata = await ask("ModelMetadata", pb.ModelMetadataRequest(name="d"))
            assert (metadata.name, list(metadata.versions), metadata.platform) == ("d", ["2"], "onnx_onnxruntime")
            assert [(t.name, t.datatype, list(t.shape)) for t in metadata.inputs] == [("x", "FP32", [-1, 2])]
            for name, version, ready in (("d", "", True), ("d", "2", True), ("d", "1", False), ("no", "", False)):
                reply = await ask("ModelReady", pb.ModelReadyRequest(name=name, version=version))
                assert reply.ready is ready
            with pytest.raises(NotFoundError):
                await ask("ModelMetadata", pb.ModelMetadataRequest(name="no"))
            assert (await ask("ServerLive", pb.ServerLiveRequest())).live
            assert (await ask("ServerReady", pb.ServerReadyRequest())).ready
            assert (await ask("ServerMetadata", pb.ServerMetadataRequest())).version == "1.2.3"
        async with inference(table, ready=False) as ask:
            assert not (await ask("ServerReady", pb.ServerReadyRequest())).ready

    asyncio.run(scene())
