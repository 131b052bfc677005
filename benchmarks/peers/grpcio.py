"""grpcio's own asyncio server with the session in its handler: what one writes without any serving framework."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.over_grpc import GrpcCaller
from benchmarks.peers.scripts import SERVERS, Script, scripted

_PROTO = Path(__file__).parents[2] / "protos" / "inference" / "inference.proto"


def _command(model: Path, port: int, folder: Path, options: Mapping[str, Any]) -> Sequence[str | Path]:
    # Apart from the code that we have generated from it, which its directory has, too.
    proto = shutil.copy(_PROTO, folder / "oip.proto")
    return [SERVERS / "serve_grpcio.py", model, str(port), proto, options["loop"]]


PEER = scripted(
    "grpcio",
    "grpcio aio",
    GrpcCaller(),
    Script("grpcio", _command),
    {"asyncio": {"loop": "asyncio"}, "uvloop": {"loop": "uvloop"}},
    "grpcio",
)
