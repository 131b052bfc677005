"""A flow that runs under Metaflow publishes what it trained; a node serves it, and tells where it comes from."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from protos.inference import inference_pb2, inference_pb2_grpc
from tests.end_to_end.client import PATIENCE_S, channel_to
from tests.end_to_end.installation import Installation, Node

FLOW = Path(__file__).with_name("ranker_flow.py")
LOOK = """
import json, sys
from metaflow import Flow, namespace
namespace(None)
run = Flow("RankerFlow").latest_run
train = run["train"].task
artefacts = {name: train[name].sha for name in ("model", "answers")}
json.dump({
    "run": run.id, "asked": train["asked"].data.tolist(), "answers": train["answers"].data.tolist(),
    "artefacts": artefacts, "version": run["end"].task["version"].data,
}, sys.stdout)
"""
"""In a process of its own: Metaflow reads its settings when it is imported."""


def run_python(installation: Installation, *arguments: str | Path) -> str:
    ours = {
        **installation.environment(),
        "METAFLOW_USER": "somebody",
        "METAFLOW_DEFAULT_METADATA": "local",
        "METAFLOW_DEFAULT_DATASTORE": "local",
        "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(installation.folder / "flows"),
        "METAFLOW_HOME": str(installation.folder / "metaflow"),
        "PYTHONPATH": os.pathsep.join([str(FLOW.parents[2]), os.environ.get("PYTHONPATH", "")]),
    }
    done = subprocess.run(
        [sys.executable, *arguments], env=ours, cwd=installation.folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def ask(address: str, rows: list[list[float]]) -> NDArray[np.float32]:
    asked = np.array(rows, np.float32)
    tensor = inference_pb2.ModelInferRequest.InferInputTensor(name="X", datatype="FP32", shape=asked.shape)
    request = inference_pb2.ModelInferRequest(
        model_name="ranker", inputs=[tensor], raw_input_contents=[asked.tobytes()]
    )
    with channel_to(address) as channel:
        stub: Any = inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        answer = stub.ModelInfer(request, timeout=PATIENCE_S)
    return np.frombuffer(answer.raw_output_contents[0], np.float32)


@pytest.mark.timeout(900)
def test_what_a_flow_trained_is_served_and_tells_its_run(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    with Node(installation) as node:
        run_python(installation, FLOW, "run", "--alpha", "0.25")
        flow = json.loads(run_python(installation, "-c", LOOK))
        assert flow["version"] == 1
        installation.wait_for_state("ranker", 1, {"READY"}, node.workers)
        np.testing.assert_allclose(ask(node.address, flow["asked"]), flow["answers"], rtol=1e-4)

    lineage = installation.ask("inspect", "ranker@1")["lineage"]
    assert (lineage["flow"], lineage["run"], lineage["step"]) == ("RankerFlow", flow["run"], "end")
    assert lineage["parameters"] == {"alpha": 0.25}
    assert {name: lineage["artefacts"][f"train/{name}"] for name in flow["artefacts"]} == flow["artefacts"]
    assert set(lineage["artefacts"]) == {"start/x", "start/y", "train/model", "train/asked", "train/answers"}
    assert lineage["code_package"] == f"sha256:{hashlib.sha256(FLOW.read_bytes()).hexdigest()}"
    assert lineage["framework"] == "scikit-learn"
    assert lineage["metrics"]["r2"] > 0
    (listed,) = installation.ask("models", "--owner", "flows")["models"]
    assert (listed["model"], listed["serving"]) == ("ranker", {"1": 1.0})


def test_outside_of_a_step_there_is_no_run_to_tell_of(tmp_path: Path) -> None:
    called = "from publisher.metaflow import publish\nfrom serving.errors import UserError\n"
    caught = "try: publish('ranker', None)\nexcept UserError as error: print(error)"
    said = run_python(Installation(tmp_path), "-c", called + caught)
    assert said == "publish: expected to be called in a step of a Metaflow flow, got none that runs\n"
