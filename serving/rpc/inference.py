"""`inference.GRPCInferenceService`, the Open Inference Protocol v2: translates messages to the use case."""

from collections.abc import AsyncIterator, Callable

from protos.inference import inference_pb2 as pb
from serving.errors import InvalidRequestError, NearlineError
from serving.recommend.infer import Inference
from serving.rpc.errors import status_of
from serving.rpc.method import Call, Kind, Method
from serving.rpc.tensors import read_inputs, write_output

_SERVICE = "/inference.GRPCInferenceService"


class InferenceService:
    """`ready` tells whether this worker is started, caught up and not stopping."""

    def __init__(self, inference: Inference, ready: Callable[[], bool], version: str) -> None:
        self._inference = inference
        self._ready = ready
        self._version = version

    def methods(self) -> list[Method]:
        """What the transport serves."""
        unary = (
            ("ServerLive", pb.ServerLiveRequest, self._server_live),
            ("ServerReady", pb.ServerReadyRequest, self._server_ready),
            ("ServerMetadata", pb.ServerMetadataRequest, self._server_metadata),
            ("ModelReady", pb.ModelReadyRequest, self._model_ready),
            ("ModelMetadata", pb.ModelMetadataRequest, self._model_metadata),
            ("ModelInfer", pb.ModelInferRequest, self._infer),
        )
        stream = Method(f"{_SERVICE}/ModelStreamInfer", Kind.BIDI_STREAM, pb.ModelInferRequest, self._stream_infer)
        return [*(Method(f"{_SERVICE}/{name}", Kind.UNARY, request, call) for name, request, call in unary), stream]

    async def _server_live(self, _request: pb.ServerLiveRequest, _call: Call) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=True)

    async def _server_ready(self, _request: pb.ServerReadyRequest, _call: Call) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=self._ready())

    async def _server_metadata(self, _request: pb.ServerMetadataRequest, _call: Call) -> pb.ServerMetadataResponse:
        return pb.ServerMetadataResponse(name="nearline", version=self._version)

    async def _model_ready(self, request: pb.ModelReadyRequest, _call: Call) -> pb.ModelReadyResponse:
        return pb.ModelReadyResponse(ready=self._inference.ready(request.name, _version(request.version)))

    async def _model_metadata(self, request: pb.ModelMetadataRequest, _call: Call) -> pb.ModelMetadataResponse:
        signature = self._inference.signature(request.name, _version(request.version))
        tensor = pb.ModelMetadataResponse.TensorMetadata
        return pb.ModelMetadataResponse(
            name=request.name,
            versions=[str(version) for version in signature.versions],
            platform="onnx_onnxruntime",
            inputs=[tensor(name=t.name, datatype=t.datatype, shape=t.shape) for t in signature.inputs],
            outputs=[tensor(name=t.name, datatype=t.datatype, shape=t.shape) for t in signature.outputs],
        )

    async def _infer(self, request: pb.ModelInferRequest, _call: Call) -> pb.ModelInferResponse:
        inferred = await self._inference.infer(
            request.model_name,
            _version(request.model_version),
            read_inputs(request),
            [output.name for output in request.outputs],
        )
        response = pb.ModelInferResponse(
            model_name=request.model_name, model_version=str(inferred.version), id=request.id
        )
        for tensor, array in inferred.outputs:
            write_output(tensor, array, response)
        return response

    async def _stream_infer(
        self, requests: AsyncIterator[pb.ModelInferRequest], call: Call
    ) -> AsyncIterator[pb.ModelStreamInferResponse]:
        async for request in requests:
            try:
                yield pb.ModelStreamInferResponse(infer_response=await self._infer(request, call))
            except NearlineError as error:
                failed = pb.ModelInferResponse(id=request.id, model_name=request.model_name)
                yield pb.ModelStreamInferResponse(error_message=status_of(error)[1], infer_response=failed)


def _version(text: str) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 19 or int(text) < 1:  # noqa: PLR2004 - digits of 2**63
        raise InvalidRequestError("model_version", "a positive integer, or nothing", repr(text[:40]))
    return int(text)
