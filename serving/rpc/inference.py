"""`inference.GRPCInferenceService`, the Open Inference Protocol v2: translates messages to the use case."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import cast

from google.protobuf.message import Message

from protos.inference import inference_pb2 as pb
from serving.errors import NearlineError
from serving.models.encoding import varint
from serving.recommend.infer import Inference
from serving.rpc.ahead import ahead
from serving.rpc.errors import status_of
from serving.rpc.infer_answers import InferAnswers
from serving.rpc.infer_requests import InferRequest, InferRequests
from serving.rpc.infer_split import model_of
from serving.rpc.infer_told import Told, ToldAll
from serving.rpc.method import Abandon, Answering, AnsweringAll, Call, Kind, Method, Reply, Unary, decoded
from serving.rpc.versions import version_of

_SERVICE = "/inference.GRPCInferenceService"
_AHEAD = 64
"""Requests of a stream that are under way at a time: as many as a run takes by default."""


class InferenceService:
    """`ready` tells whether this worker is started, caught up and not stopping."""

    def __init__(self, inference: Inference, ready: Callable[[], bool], version: str) -> None:
        self._inference = inference
        self._ready = ready
        self._version = version
        self._requests = InferRequests()
        self._answers = InferAnswers()

    def methods(self) -> list[Method]:
        """What the transport serves."""
        # Reads what no class of messages reads as fast; all that a transport asks of it is the same.
        read = cast("type[Message]", self._requests)
        unary: tuple[tuple[str, type[Message], Unary], ...] = (
            ("ServerLive", pb.ServerLiveRequest, self._server_live),
            ("ServerReady", pb.ServerReadyRequest, self._server_ready),
            ("ServerMetadata", pb.ServerMetadataRequest, self._server_metadata),
            ("ModelReady", pb.ModelReadyRequest, self._model_ready),
            ("ModelMetadata", pb.ModelMetadataRequest, self._model_metadata),
        )
        infer = Method(
            f"{_SERVICE}/ModelInfer",
            Kind.UNARY,
            read,
            self._infer,
            soon=self._begin,
            together=self._begin_all,
            queue=model_of,
        )
        stream = Method(f"{_SERVICE}/ModelStreamInfer", Kind.BIDI_STREAM, read, self._stream_infer)
        return [
            *(Method(f"{_SERVICE}/{name}", Kind.UNARY, request, call) for name, request, call in unary),
            infer,
            stream,
        ]

    async def _server_live(self, _request: pb.ServerLiveRequest, _call: Call) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=True)

    async def _server_ready(self, _request: pb.ServerReadyRequest, _call: Call) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=self._ready())

    async def _server_metadata(self, _request: pb.ServerMetadataRequest, _call: Call) -> pb.ServerMetadataResponse:
        return pb.ServerMetadataResponse(name="nearline", version=self._version)

    async def _model_ready(self, request: pb.ModelReadyRequest, _call: Call) -> pb.ModelReadyResponse:
        return pb.ModelReadyResponse(ready=self._inference.ready(request.name, version_of(request.version)))

    async def _model_metadata(self, request: pb.ModelMetadataRequest, _call: Call) -> pb.ModelMetadataResponse:
        signature = self._inference.signature(request.name, version_of(request.version))
        tensor = pb.ModelMetadataResponse.TensorMetadata
        return pb.ModelMetadataResponse(
            name=request.name,
            versions=[str(version) for version in signature.versions],
            platform="onnx_onnxruntime",
            inputs=[tensor(name=t.name, datatype=t.datatype, shape=t.shape) for t in signature.inputs],
            outputs=[tensor(name=t.name, datatype=t.datatype, shape=t.shape) for t in signature.outputs],
        )

    async def _infer(self, request: InferRequest, call: Call) -> bytes:
        wanted, chunks = self._requests.read(request)
        inferred = await self._inference.infer(wanted, chunks, sum(map(len, request.raw)), call.deadline)
        return self._answers.encode(wanted, request.id, inferred)

    def _begin(self, message: bytes, deadline: float | None, answering: Answering) -> Abandon:
        known = self._requests.known(message)
        if known is None:
            request = decoded(cast("type[Message]", self._requests), message)
            wanted, chunks = self._requests.read(request)
            ident, size = request.id, sum(map(len, request.raw))
        else:
            wanted, chunks, ident = known
            size = len(message)
        told = Told(answering, self._answers, wanted, ident)
        return self._inference.begin(wanted, chunks, size, deadline, told)

    def _begin_all(self, messages: Sequence[bytes], deadline: float | None, answering: AnsweringAll) -> Abandon | None:
        alike = self._requests.alike(messages)
        if alike is None:
            return None
        wanted, chunks = alike
        calls, size = len(messages), sum(map(len, messages))
        told = ToldAll(answering, self._answers, wanted, calls)
        return self._inference.begin_all(wanted, chunks, size, deadline, told, calls)

    async def _stream_infer(self, requests: AsyncIterator[InferRequest], call: Call) -> AsyncIterator[Reply]:
        """Requests that arrive while others wait run with them; answers come in the order of the requests."""
        async with aclosing(ahead(requests, lambda request: self._stream_answer(request, call), _AHEAD)) as answers:
            async for answer in answers:
                yield answer

    async def _stream_answer(self, request: InferRequest, call: Call) -> Reply:
        try:
            answer = await self._infer(request, call)
        except NearlineError as error:
            return pb.ModelStreamInferResponse(
                error_message=status_of(error)[1], infer_response=pb.ModelInferResponse(id=request.id.decode())
            )
        # Field 2, length-delimited: the encoding of `ModelInferResponse infer_response = 2`.
        return b"\x12" + varint(len(answer)) + answer
