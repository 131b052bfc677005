"""A trial ends with a report or with the kind of error that is published, whatever the graph does to its process."""

import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from protos.nearline.v1 import status_pb2
from serving.bundles.bundle import GRAPH, SAMPLES, WEIGHTS
from serving.bundles.confinement.limits import limit
from serving.bundles.trial import try_bundle
from serving.errors import ModelError
from tests.builders.bundles import build, build_recommender
from tests.builders.graphs import doubler, looked_up, model, recommender, wide
from tests.builders.waiting import wait_until

TIMEOUT_S = 120.0
MEMORY = 1 << 30


def refusal(folder: Path, timeout_s: float = TIMEOUT_S, memory_bytes: int = MEMORY) -> ModelError:
    with pytest.raises(ModelError) as caught:
        try_bundle(folder, timeout_s, memory_bytes)
    assert len(str(caught.value).splitlines()) == 1
    return caught.value


def put(folder: Path, nodes: list[onnx.NodeProto], *weights: onnx.TensorProto) -> None:
    """The doubler's bundle with another graph, of the same signature, in it."""
    build(folder, doubler())
    shape: list[str | int] = ["batch", 2]
    graph = helper.make_graph(
        nodes,
        "hostile",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        weights,
    )
    (folder / GRAPH).write_bytes(model(graph).SerializeToString())


def number(name: str, value: object, dtype: type = np.int64) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(value, dtype), name)


def test_a_good_bundle_passes_and_says_what_it_took(tmp_path: Path) -> None:
    build(tmp_path)
    report = try_bundle(tmp_path, TIMEOUT_S, MEMORY)
    assert 0 < report.seconds < TIMEOUT_S
    assert 10 << 20 < report.peak_bytes < MEMORY


@pytest.mark.skipif(sys.platform != "linux", reason="no other system tells")
def test_what_a_model_takes_for_itself_is_told_apart_from_weights_that_are_mapped(tmp_path: Path) -> None:
    build(tmp_path / "copied", wide(2048))
    build(tmp_path / "mapped", looked_up(2048))
    copied, mapped = (try_bundle(tmp_path / name, TIMEOUT_S, MEMORY) for name in ("copied", "mapped"))
    weights = 4 * 2048**2
    assert weights <= copied.private_bytes < 1.5 * weights
    assert mapped.private_bytes < 0.5 * weights


def test_measuring_takes_nothing_of_the_time_that_a_trial_has(tmp_path: Path) -> None:
    build_recommender(tmp_path, recommender(rounds=30_000))
    began = time.monotonic()
    report = try_bundle(tmp_path, timeout_s=8, memory_bytes=MEMORY, batches=range(1, 11))
    assert time.monotonic() - began > 8, "measuring ten sizes takes a second each"
    assert len(report.latencies) == 10


def test_a_trial_that_is_measured_keeps_to_the_time_that_nodes_give_it(tmp_path: Path) -> None:
    build_recommender(tmp_path, recommender())
    # Each size that is measured is time for the process, which it needs on a busy machine: so there are many.
    with pytest.raises(ModelError, match=r"^trial: expected to end within 0.001 s, got \d") as caught:
        try_bundle(tmp_path, timeout_s=0.001, memory_bytes=MEMORY, batches=range(1, 25))
    assert (caught.value.kind, caught.value.rejected) == (status_pb2.TIMEOUT, True)


def unknown_operator(folder: Path) -> None:
    put(folder, [helper.make_node("NoSuchThing", ["x"], ["y"])])


def dangling_input(folder: Path) -> None:
    put(folder, [helper.make_node("Add", ["x", "nowhere"], ["y"])])


def huge_declared_tensor(folder: Path) -> None:
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1 << 40], raw_data=b"\0" * 8)
    put(folder, [helper.make_node("Add", ["x", "w"], ["y"])], weights)


def overflowing_tensor(folder: Path) -> None:
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1 << 33, 1 << 33], raw_data=b"\0" * 8)
    put(folder, [helper.make_node("Add", ["x", "w"], ["y"])], weights)


def future_opset(folder: Path) -> None:
    build(folder, doubler())
    graph = onnx.load_model(str(folder / GRAPH))
    graph.opset_import[0].version = 999
    (folder / GRAPH).write_bytes(graph.SerializeToString())


def future_ir_version(folder: Path) -> None:
    build(folder, doubler())
    graph = onnx.load_model(str(folder / GRAPH))
    graph.ir_version = 999
    (folder / GRAPH).write_bytes(graph.SerializeToString())


def corrupt(folder: Path) -> None:
    build(folder)
    data = bytearray((folder / GRAPH).read_bytes())
    data[::7] = bytes(255 - b for b in data[::7])
    (folder / GRAPH).write_bytes(data)


@pytest.mark.parametrize(
    "make",
    [
        unknown_operator,
        dangling_input,
        huge_declared_tensor,
        overflowing_tensor,
        future_opset,
        future_ir_version,
        corrupt,
    ],
)
def test_a_graph_that_the_runtime_cannot_load_says_so(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path)
    error = refusal(tmp_path)
    assert error.kind in {status_pb2.LOAD, status_pb2.RESOURCE}, error.detail
    assert str(error)


def test_what_our_own_check_refuses_never_reaches_the_runtime(tmp_path: Path) -> None:
    build(tmp_path)
    os.truncate(tmp_path / WEIGHTS, 100)
    error = refusal(tmp_path)
    assert (error.kind, error.rejected) == (status_pb2.POLICY, True)


def test_a_graph_that_is_not_as_the_manifest_says_is_refused(tmp_path: Path) -> None:
    build(tmp_path, doubler())
    (tmp_path / GRAPH).write_bytes(doubler(("batch", 3)).SerializeToString())
    error = refusal(tmp_path)
    assert (error.kind, error.rejected) == (status_pb2.MANIFEST, True)


def test_samples_that_fail_are_a_failed_warm_up(tmp_path: Path) -> None:
    build(tmp_path, doubler())
    np.savez(tmp_path / SAMPLES, x=np.zeros((1, 5), np.float32))
    error = refusal(tmp_path)
    assert (error.kind, error.rejected) == (status_pb2.WARMUP, True)


def test_broken_samples_are_refused(tmp_path: Path) -> None:
    build(tmp_path)
    (tmp_path / SAMPLES).write_bytes(b"PK\x03\x04")
    assert refusal(tmp_path).kind == status_pb2.MANIFEST


def test_a_graph_that_asks_for_an_enormous_tensor_is_out_of_memory(tmp_path: Path) -> None:
    put(
        tmp_path,
        [
            # From the input, so that it is not folded while loading.
            helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
            helper.make_node("Cast", ["most"], ["zero"], to=TensorProto.INT64),
            helper.make_node("Mul", ["zero", "none"], ["nothing"]),
            helper.make_node("Add", ["nothing", "shape"], ["sizes"]),
            helper.make_node("ConstantOfShape", ["sizes"], ["huge"]),
            helper.make_node("ReduceSum", ["huge"], ["sum"], keepdims=0),
            helper.make_node("Add", ["x", "sum"], ["y"]),
        ],
        number("none", 0),
        number("shape", [1 << 17, 1 << 17]),
    )
    error = refusal(tmp_path)
    assert (error.kind, error.rejected) == (status_pb2.RESOURCE, True), error.detail


def test_a_graph_that_never_ends_is_killed(tmp_path: Path) -> None:
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["condition"], ["again"]),
            helper.make_node("Add", ["value", "value"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("at", TensorProto.INT64, []),
            helper.make_tensor_value_info("condition", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("again", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, None),
        ],
    )
    put(
        tmp_path,
        [helper.make_node("Loop", ["", "forever", "x"], ["y"], body=body)],
        number("forever", True, np.bool_),
    )
    began = time.monotonic()
    error = refusal(tmp_path, timeout_s=4)
    assert (error.kind, error.rejected) == (status_pb2.TIMEOUT, True), str(error)
    assert time.monotonic() - began < TIMEOUT_S


@pytest.mark.parametrize("error", [ValueError("current limit exceeds maximum limit"), OSError("no")])
def test_a_limit_that_the_system_does_not_have_is_left_out_and_the_others_hold(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def setrlimit(what: int, _limits: tuple[int, int]) -> None:
        if what == resource.RLIMIT_AS:
            raise error
        asked.append(what)

    monkeypatch.setattr("serving.bundles.confinement.limits.resource.setrlimit", setrlimit)
    assert limit(1 << 30, 10) == ["RLIMIT_AS"]
    assert asked == [resource.RLIMIT_CPU, resource.RLIMIT_CORE, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE]


def test_a_trial_without_a_limit_passes_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    said = '{"seconds": 1, "peak_bytes": 2, "unconfined": ["RLIMIT_AS"]}'
    stand_in(tmp_path, f"echo '{said}'", monkeypatch)
    assert try_bundle(tmp_path, TIMEOUT_S, MEMORY).peak_bytes == 2
    assert "this system cannot confine a model: no RLIMIT_AS" in caplog.text


def stand_in(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that does what only a defect of the runtime would: no graph is known that crashes this release."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setattr("serving.bundles.trial.sys.executable", str(path))


@pytest.mark.parametrize(
    ("script", "kind", "words"),
    [
        ("echo last words >&2; kill -SEGV $$", status_pb2.CRASH, "trial: the process died by SIGSEGV"),
        ("kill -ABRT $$", status_pb2.CRASH, "trial: the process died by SIGABRT"),
        ("kill -40 $$", status_pb2.CRASH, "trial: the process died by signal 40"),
        ("kill -XCPU $$", status_pb2.TIMEOUT, "trial: more processor time than a model may take"),
        ("exit 3", status_pb2.CRASH, "trial: the process ended with exit code 3 and no report"),
        ("echo MemoryError >&2; exit 1", status_pb2.RESOURCE, "trial: the process ended with exit code 1"),
        ("echo not json", status_pb2.CRASH, "trial: the process ended with exit code 0 and no report"),
    ],
)
def test_the_death_of_the_process_is_a_status(
    script: str, kind: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, script, monkeypatch)
    error = refusal(tmp_path)
    assert (error.kind, error.rejected) == (kind, True)
    assert str(error).startswith(words)


def test_a_kill_from_outside_is_not_the_models_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, "kill -KILL $$", monkeypatch)
    error = refusal(tmp_path)
    assert (error.kind, error.rejected) == (status_pb2.RESOURCE, False)
    assert str(error) == "trial: the process was killed from outside; is the machine out of memory?"


def gone(pid: int) -> bool:
    """Ended, even if nobody has collected it yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith(("Z", "X"))
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_what_it_started_ends_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, f"sleep 1000 & echo $! > {tmp_path}/pid; exit 1", monkeypatch)
    assert refusal(tmp_path, timeout_s=5).kind in {status_pb2.CRASH, status_pb2.TIMEOUT}
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: gone(pid), f"process {pid} still runs")


def test_the_child_sees_no_settings_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARLINE_SECRET", "x")
    stand_in(tmp_path, "env >&2; exit 1", monkeypatch)
    detail = refusal(tmp_path).detail
    assert "PATH=" in detail
    assert "NEARLINE_SECRET" not in detail
