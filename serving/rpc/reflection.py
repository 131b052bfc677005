"""Server reflection (`grpc.reflection.v1alpha`), so that grpcurl and its like can call without our .proto files."""

from collections.abc import AsyncIterator, Sequence

from grpc_reflection.v1alpha import reflection, reflection_pb2

from serving.rpc.method import Call, Group, Kind, Method

SERVICE = reflection.SERVICE_NAME


class ReflectionService:
    """grpcio's own implementation, which looks at the descriptors and needs no transport."""

    def __init__(self, services: Sequence[str]) -> None:
        self._servicer = reflection.aio.ReflectionServicer(services)

    def methods(self) -> list[Method]:
        """What the transport serves."""
        request = reflection_pb2.ServerReflectionRequest
        return [Method(f"/{SERVICE}/ServerReflectionInfo", Kind.BIDI_STREAM, request, self._info, group=Group.ADMIN)]

    def _info(
        self, requests: AsyncIterator[reflection_pb2.ServerReflectionRequest], _call: Call
    ) -> AsyncIterator[reflection_pb2.ServerReflectionResponse]:
        answers: AsyncIterator[reflection_pb2.ServerReflectionResponse] = self._servicer.ServerReflectionInfo(
            requests, None
        )
        return answers
