"""Server reflection (`grpc.reflection.v1alpha`), so that grpcurl and its like can call without our .proto files."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from grpc_reflection.v1alpha import reflection, reflection_pb2

from serving.rpc.method import Call, Group, Kind, Method

SERVICE = reflection.SERVICE_NAME


class _Pool:
    """Protobuf's own, which also finds the file of a method: ghz asks for those (reflection.proto has them, too)."""

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:  # noqa: N802 - protobuf's name
        """KeyError when there is none."""
        service, _, method = symbol.rpartition(".")
        try:
            return self._pool.FindServiceByName(service).methods_by_name[method].containing_service.file
        except KeyError:
            return self._pool.FindFileContainingSymbol(symbol)


class ReflectionService:
    """grpcio's own implementation, which looks at the descriptors and needs no transport."""

    def __init__(self, services: Sequence[str]) -> None:
        self._servicer = reflection.aio.ReflectionServicer(services, pool=_Pool())

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
