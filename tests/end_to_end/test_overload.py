"""A node that is asked for more than it may take in sheds the rest with a status, and answers all again afterwards."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from protos.inference import inference_pb2 as pb
from publisher.api import publish
from serving.loadtest.inferring import INFER, infer_requests
from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.models import doubler

LIMIT, CALLS, ROUNDS = 8, 400, 5


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """One that lets few calls in at once, so that no machine is too fast to be overloaded."""
    more = {"rpc_limits": json.dumps({"running_calls": LIMIT})}
    installation = Installation(tmp_path, {"workers": "1", "nearline_workers": "0", "transport": "native", **more})
    publish("doubler", doubler(), settings=installation.settings())
    with Node(installation) as started:
        yield started


async def burst(address: str, request: bytes, calls: int) -> Counter[str]:
    """Ask for all at once; return how the calls ended, by status."""
    async with grpc.aio.insecure_channel(address) as channel:
        ask = channel.unary_unary(INFER, response_deserializer=pb.ModelInferResponse.FromString)

        async def one() -> str:
            try:
                answer = await ask(request, timeout=60)
            except grpc.aio.AioRpcError as error:
                return str(error.code().name)
            assert answer.model_name == "doubler"
            return "OK"

        return Counter(await asyncio.gather(*(one() for _ in range(calls))))


def test_every_call_is_answered_or_told_so_and_all_is_well_afterwards(node: Node) -> None:
    request = infer_requests(node.address, "doubler", 1, count=1)[0]
    ended: Counter[str] = Counter()
    for _ in range(ROUNDS):
        ended += asyncio.run(burst(node.address, request, CALLS))
    assert sum(ended.values()) == CALLS * ROUNDS
    assert set(ended) == {"OK", "RESOURCE_EXHAUSTED"}
    assert ended["OK"] >= LIMIT
    for _ in range(20):
        assert asyncio.run(burst(node.address, request, 1)) == {"OK": 1}
