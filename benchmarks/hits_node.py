"""What P1 and P2 measure: a node whose customers all have a prediction, and grpc.aio as a server of the same bytes."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import trustme

from benchmarks.loads import address, customers, fill, serving, wait_for
from benchmarks.nodes import node
from benchmarks.shop import items, model
from benchmarks.stored import store_predictions
from benchmarks.stores import redis_at
from protos.nearline.v1 import recommender_pb2 as pb
from publisher.api import publish
from serving.loadtest.requests import RECOMMEND, recommend_requests
from serving.loadtest.secure import Tls, open_channel
from serving.settings import Settings

ENTITIES = 2_000
"""That have bought something."""
MANY = 100_000
"""That have a prediction, where there are `many`."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where it listens, and its process."""

    target: str
    process: psutil.Process


@dataclass(frozen=True, slots=True)
class Stage:
    """Both servers; whom to trust, and how many bytes an answer has."""

    ours: Server
    reference: Server
    tls: Tls | None
    answer_bytes: int

    @staticmethod
    def requests(k: int = 0, count: int = ENTITIES) -> list[bytes]:
        """What to ask: for each customer's prediction, or its first `k` items."""
        return recommend_requests("shop", customers(count), k, test=False)


@contextmanager
def stage(*, secure: bool, redis: bool = False, many: bool = False) -> Iterator[Stage]:
    """Run both, each on the server's core, until the end of the `with`. redis: the store is a Redis of its own."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as running:
        folder = Path(name)
        store = {"store": running.enter_context(redis_at("", folder))} if redis else {}
        settings = Settings.model_validate({"data_dir": folder / "data", "workers": 1, "nearline_workers": 1, **store})
        publish("shop", model(), items=items(), settings=settings)
        files, tls = _credentials(folder) if secure else ([], None)
        more: dict[str, Any] = dict(zip(("tls_key", "tls_certificate"), files, strict=False))
        running.enter_context(node(settings, transport="native", **more))
        target = f"localhost:{address(settings).rpartition(':')[2]}"
        fill(settings, customers(ENTITIES), purchases=1, tls=tls)
        if many:
            known, others = customers(ENTITIES), customers(MANY)[ENTITIES:]
            store_predictions(settings, known, others)
            wait_for(address(settings), others[:: len(others) // 100], tls=tls)
        answer = _answer(target, tls)
        (folder / "answer").write_bytes(answer)
        reference = running.enter_context(_reference([folder / "answer", *files]))
        yield Stage(Server(target, serving(settings)[0]), reference, tls, len(answer))


def _credentials(folder: Path) -> tuple[list[Path], Tls]:
    """Return the files of key and certificate, and what their clients need."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    key, certificate, trusted = (folder / name for name in ("key.pem", "certificate.pem", "ca.pem"))
    issued.private_key_pem.write_to_path(key)
    issued.cert_chain_pems[0].write_to_path(certificate)
    authority.cert_pem.write_to_path(trusted)
    return [key, certificate], Tls(trusted)


def _answer(target: str, tls: Tls | None) -> bytes:
    with open_channel(target, tls) as channel:
        ask = channel.unary_unary(RECOMMEND, pb.RecommendRequest.SerializeToString)
        answer: bytes = ask(pb.RecommendRequest(objective="shop", entity_id=customers(1)[0]), timeout=10)
    return answer


@contextmanager
def _reference(files: list[Path]) -> Iterator[Server]:
    command = [sys.executable, "-m", "benchmarks.rpc_reference", *map(str, files)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            port = int((process.stdout or sys.stdin).readline())
            yield Server(f"localhost:{port}", psutil.Process(process.pid))
        finally:
            process.terminate()
