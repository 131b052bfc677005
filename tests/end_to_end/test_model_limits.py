"""What models may take on a node: of its memory, beside what serves, and of time, as their manifests say."""

import threading
from pathlib import Path
from typing import Any, Self

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from publisher.api import publish
from publisher.gate.demands import Demands
from tests.builders.graphs import wide
from tests.end_to_end.inferring import infer
from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.waiting import wait_until

MIB = 1 << 20
SIZE = 2048
"""The matrix of such a model has 16 MiB, of which each worker has a copy, and the node another one."""
BUDGET = 32 * MIB
"""Of a worker: room for one of them, but not for two."""
ROW = np.ones((1, SIZE), np.float32)

pytestmark = pytest.mark.timeout(300)


def installed(folder: Path, **overrides: str) -> Installation:
    never = {"retry_first_s": "3600", "retry_most_s": "3600"}
    return Installation(folder, {"model_memory_bytes": str(BUDGET), **never, **overrides})


def publish_wide(installation: Installation, version: int, size: int = SIZE, **options: Any) -> None:
    options = {"gate": Demands(breaking=True), **options}
    publish("wide", wide(size, version), version=version, settings=installation.settings(), **options)


def answered_by(version: int, answer: NDArray[np.float32]) -> bool:
    matrix = np.random.default_rng(version).random((SIZE, SIZE), np.float32)
    return np.allclose(answer[0], matrix.sum(axis=0), rtol=1e-3)


def ask(node: Node) -> NDArray[Any]:
    return infer(node.address, "wide", {"x": ROW})["y"]


def errors(installation: Installation, version: int) -> set[tuple[str, str]]:
    return {(i["state"], i["error"]["kind"]) for i in installation.instances("wide", version).values()}


def test_a_version_that_does_not_keep_to_its_limits_is_refused_and_the_old_one_serves_on(tmp_path: Path) -> None:
    installation = installed(tmp_path)
    with Node(installation) as node:
        publish_wide(installation, 1)
        installation.wait_for_state("wide", 1, {"READY"}, node.workers)
        budget, memory = "nearline_model_memory_budget_bytes", "nearline_model_memory_bytes"
        wait_until(lambda: node.metric(budget) == node.workers * BUDGET, "each tells its budget")
        assert node.workers * 16 * MIB < node.metric(memory) < node.workers * BUDGET
        used = node.metric(memory)

        publish_wide(installation, 2)
        for instance in installation.wait_for_state("wide", 2, {"FAILED"}, node.workers).values():
            assert instance["error"]["kind"] == "RESOURCE"
            assert "beside wide/1" in instance["error"]["message"]
        publish_wide(installation, 3, 2 * SIZE)
        installation.wait_for_state("wide", 3, {"REJECTED"}, node.workers)
        assert errors(installation, 3) == {("REJECTED", "RESOURCE")}

        slow = {"limits": {"latency_ms": 1e-6}, "gate": Demands(latency_ms={1: 60_000.0}, breaking=True)}
        publish_wide(installation, 4, 16, **slow)
        installation.wait_for_state("wide", 4, {"FAILED"}, node.workers)
        assert errors(installation, 4) == {("FAILED", "WARMUP")}
        assert answered_by(1, ask(node))
        wait_until(lambda: node.metric(memory) == used, "what was refused has given back its memory")

        # What version 1 gives back is enough for version 2, which nobody has to be told.
        installation.ask("retire", "wide", "1")
        installation.wait_for_state("wide", 2, {"READY"}, node.workers)
        assert answered_by(2, ask(node))


def test_the_old_version_is_unloaded_first_where_that_is_wanted_and_requests_are_told_so(tmp_path: Path) -> None:
    installation = installed(tmp_path, model_memory_policy="unload_first")
    with Node(installation) as node:
        publish_wide(installation, 1)
        installation.wait_for_state("wide", 1, {"READY"}, node.workers)
        with Asking(node) as asking:
            publish_wide(installation, 2)
            installation.wait_for_state("wide", 2, {"READY"}, node.workers)
            for instance in installation.wait_for_state("wide", 1, {"UNLOADED"}, node.workers).values():
                assert instance["reason"] == "there is no memory for it beside version 2"
        assert set(asking.failures) <= {(grpc.StatusCode.UNAVAILABLE, "model 'wide': no version of it is ready")}
        assert all(answered_by(1, answer) or answered_by(2, answer) for answer in asking.answers)
        assert answered_by(2, ask(node))

        publish_wide(installation, 3, 2 * SIZE)
        installation.wait_for_state("wide", 3, {"REJECTED"}, node.workers)
        assert answered_by(2, ask(node)), "nothing is unloaded for what does not fit at all"


class Asking:
    """Asks without a pause, until the end of the `with`."""

    def __init__(self, node: Node) -> None:
        self.answers: list[NDArray[Any]] = []
        self.failures: list[tuple[grpc.StatusCode, str]] = []
        self._node = node
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(120)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.answers = [*self.answers[-50:], ask(self._node)]
            except grpc.RpcError as error:
                self.failures.append((error.code(), error.details()))
