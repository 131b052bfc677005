"""Other people's conformance tools, built by `make tools`."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from serving.rpc.method import Method
from serving.rpc.native.server import NativeServer
from serving.telemetry.metrics import Metrics

_BIN = Path(__file__).parents[2] / ".tools" / "bin"
_PATIENCE_S = 200


def tool(name: str) -> str:
    path = _BIN / name
    if not path.exists():
        pytest.skip(f"needs .tools/bin/{name}: `make tools`, which needs Go")
    return str(path)


async def output(*command: str) -> tuple[int, str]:
    """Run a program; its exit code, and all that it says."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), _PATIENCE_S)
    except TimeoutError:
        process.kill()
        raise
    return process.returncode or 0, said.decode()


def against(methods: Sequence[Method], scene: Callable[[int], Awaitable[None]], most: int = 4 << 20) -> None:
    """Run a scene with the port of our server."""

    async def run() -> None:
        server = NativeServer(methods, "127.0.0.1:0", Metrics(CollectorRegistry()), most)
        await server.start()
        try:
            await scene(server.port)
        finally:
            await server.stop(0)

    asyncio.run(run())
