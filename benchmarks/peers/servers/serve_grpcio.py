"""grpc.aio as a server of ModelInfer, as one would write it: serve_grpcio.py MODEL PORT DESCRIPTOR [uvloop].

DESCRIPTOR: file with the protocol's FileDescriptorProto, in place of generated code.
"""

import asyncio
import sys
from pathlib import Path

import grpc
import numpy as np
from google.protobuf import descriptor_pool, message_factory
from session import Ranker

model, port, descriptor, *more = sys.argv[1:]
pool = descriptor_pool.DescriptorPool()
pool.AddSerializedFile(Path(descriptor).read_bytes())
Request, Reply = (
    message_factory.GetMessageClass(pool.FindMessageTypeByName(f"inference.ModelInfer{kind}"))
    for kind in ("Request", "Response")
)


class Servicer:
    """Raw contents, as clients send them."""

    def __init__(self) -> None:
        self.ranker = Ranker(model)

    async def infer(self, request, _context):  # noqa: ANN001, ANN201 - made at run time
        """Answer."""
        x = np.frombuffer(request.raw_input_contents[0], np.float32).reshape(request.inputs[0].shape)
        items, scores = self.ranker(x)
        reply = Reply(model_name=request.model_name, id=request.id)
        reply.outputs.add(name="items", datatype="INT64", shape=items.shape)
        reply.outputs.add(name="scores", datatype="FP32", shape=scores.shape)
        reply.raw_output_contents.extend((items.tobytes(), scores.tobytes()))
        return reply


async def main() -> None:
    """Serve until killed."""
    server = grpc.aio.server()
    method = grpc.unary_unary_rpc_method_handler(Servicer().infer, Request.FromString, Reply.SerializeToString)
    service = grpc.method_handlers_generic_handler("inference.GRPCInferenceService", {"ModelInfer": method})
    server.add_generic_rpc_handlers((service,))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if "uvloop" in more:
    import uvloop

    uvloop.run(main())
else:
    asyncio.run(main())
