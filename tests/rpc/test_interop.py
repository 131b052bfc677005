"""gRPC's own interoperability cases, with grpc-go's client."""

import pytest

from tests.rpc.interop.service import METHODS
from tests.rpc.tools import against, output, tool

CASES = (
    "empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong", "empty_stream",
    "timeout_on_sleeping_server", "cancel_after_begin", "cancel_after_first_response", "status_code_and_message",
    "special_status_message", "custom_metadata", "unimplemented_method", "unimplemented_service", "rpc_soak",
    "channel_soak",
)  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_client_of_grpc_go_is_content(case: str) -> None:
    client = tool("client")

    async def scene(port: int) -> None:
        where = ("--server_host=127.0.0.1", f"--server_port={port}")
        patience = ("--soak_per_iteration_max_acceptable_latency_ms=20000", "--soak_overall_timeout_seconds=90")
        code, said = await output(client, *where, *patience, f"--test_case={case}")
        assert code == 0, said

    against(METHODS, scene)
