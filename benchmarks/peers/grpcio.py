"""grpcio's own asyncio server with the session in its handler: what one writes without any serving framework."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.over_grpc import GrpcCaller
from benchmarks.peers.scripts import SERVERS, Script, scripted
from protos.inference import inference_pb2 as pb


def _command(model: Path, port: int, folder: Path, options: Mapping[str, Any]) -> Sequence[str | Path]:
    descriptor = folder / "inference.binpb"
    descriptor.write_bytes(pb.DESCRIPTOR.serialized_pb)
    return [SERVERS / "serve_grpcio.py", model, str(port), descriptor, options["loop"]]


PEER = scripted(
    "grpcio",
    "grpcio aio",
    GrpcCaller(),
    Script("grpcio", _command),
    {"asyncio": {"loop": "asyncio"}, "uvloop": {"loop": "uvloop"}},
    "grpcio",
)
