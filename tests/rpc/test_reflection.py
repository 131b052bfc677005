"""What grpcurl sees."""

import asyncio

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest

from protos.nearline.v1 import recommender_pb2
from serving.rpc.reflection import SERVICE, ReflectionService
from tests.rpc.calls import CALL, following, handler, stream

NAME = recommender_pb2.DESCRIPTOR.services_by_name["Recommender"].full_name


def test_services_are_listed_and_described() -> None:
    async def scene() -> None:
        info = handler(ReflectionService([NAME, SERVICE]).methods(), "ServerReflectionInfo")
        replies = info(
            stream(
                ServerReflectionRequest(list_services=""),
                ServerReflectionRequest(file_containing_symbol=NAME),
                ServerReflectionRequest(file_containing_symbol=f"{NAME}.Recommend"),
                ServerReflectionRequest(file_containing_symbol="no.such.Thing"),
                ServerReflectionRequest(file_containing_symbol=f"{NAME}.Nothing"),
            ),
            CALL,
        )
        listed = (await following(replies)).list_services_response.service
        assert [service.name for service in listed] == sorted([NAME, SERVICE])
        for _ in ("a service", "a method"):
            (data,) = (await following(replies)).file_descriptor_response.file_descriptor_proto
            assert FileDescriptorProto.FromString(data).service[0].name == "Recommender"
        for _ in ("no such file", "no such method"):
            assert (await following(replies)).error_response.error_code == 5

    asyncio.run(scene())
