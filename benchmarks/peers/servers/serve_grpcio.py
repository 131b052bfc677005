"""grpc.aio as a server of ModelInfer, as one would write it: serve_grpcio.py MODEL PORT PROTO [uvloop]."""

import asyncio
import sys
from pathlib import Path

import grpc
import numpy as np
from session import Ranker

model, port, proto, *more = sys.argv[1:]
sys.path.append(str(Path(proto).parent))
pb, services = grpc.protos_and_services(Path(proto).name)


class Servicer(services.GRPCInferenceServiceServicer):
    """Raw contents, as clients send them."""

    def __init__(self) -> None:
        self.ranker = Ranker(model)

    async def ModelInfer(self, request, _context):  # noqa: ANN001, ANN201, N802 - gRPC's
        """Answer."""
        x = np.frombuffer(request.raw_input_contents[0], np.float32).reshape(request.inputs[0].shape)
        items, scores = self.ranker(x)
        reply = pb.ModelInferResponse(model_name=request.model_name, id=request.id)
        reply.outputs.add(name="items", datatype="INT64", shape=items.shape)
        reply.outputs.add(name="scores", datatype="FP32", shape=scores.shape)
        reply.raw_output_contents.extend((items.tobytes(), scores.tobytes()))
        return reply


async def main() -> None:
    """Serve until killed."""
    server = grpc.aio.server()
    services.add_GRPCInferenceServiceServicer_to_server(Servicer(), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if "uvloop" in more:
    import uvloop

    uvloop.run(main())
else:
    asyncio.run(main())
