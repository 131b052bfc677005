"""What real models count for, and when they do: a trial tells, the runtime's session is what takes it."""

import gc
import sys
from pathlib import Path

import pytest

from protos.nearline.v1 import status_pb2
from protos.records import Announced
from publisher.build import build_bundle
from publisher.sources.onnx_graph import from_onnx
from serving.artifacts.cache import BundleCache
from serving.artifacts.store import FsspecArtifacts
from serving.bundles.about import About, Limits
from serving.bundles.bundle import WEIGHTS, open_bundle
from serving.bundles.probe import run_samples
from serving.bundles.session import ModelSession
from serving.errors import ModelError
from serving.models.lifecycle import State
from serving.models.loaded import LoadedModel
from serving.models.loader import Loader
from serving.models.memory import ANY, ModelMemory, NoRoomError
from serving.models.verdicts import Verdicts
from tests.builders.bundles import build
from tests.builders.graphs import doubler, wide
from tests.models.test_loader import stored

MIB = 1 << 20
MATRIX = 4 * MIB
"""Of `wide`; it has it twice: in its weights, and as the runtime's own copy."""


class Worker:
    """Loads what is announced as one worker of a node, of `sharers`, does."""

    def __init__(self, folder: Path, budget: int = ANY, sharers: int = 1) -> None:
        self.memory = ModelMemory(budget)
        cache = BundleCache(folder / "bundles", FsspecArtifacts((folder / "artifacts").as_uri()), 1 << 30)
        self.loader = Loader(
            cache,
            Verdicts(folder / "verdicts"),
            "w0",
            trial_timeout_s=200,
            trial_memory_bytes=1 << 30,
            memory=self.memory,
            sharers=sharers,
        )

    def load(self, announced: Announced, states: list[State] | None = None) -> LoadedModel:
        states = [] if states is None else states
        return self.loader.load("m", announced, 0, states.append, lambda: True)


@pytest.fixture
def announced(tmp_path: Path) -> Announced:
    build(tmp_path / "built", wide())
    return stored(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="no other system tells what a process takes")
def test_a_model_counts_for_what_it_takes_beside_its_share_of_the_weights(tmp_path: Path, announced: Announced) -> None:
    alone, one_of_four = Worker(tmp_path), Worker(tmp_path, sharers=4)
    loaded = alone.load(announced)
    assert MATRIX + MATRIX <= loaded.memory_bytes == alone.memory.used_bytes < 3 * MATRIX
    shared = (tmp_path / "built" / WEIGHTS).stat().st_size
    assert one_of_four.load(announced).memory_bytes == pytest.approx(loaded.memory_bytes - shared * 3 / 4, abs=1)


def test_it_is_given_back_when_the_session_is_closed_or_forgotten(tmp_path: Path, announced: Announced) -> None:
    worker = Worker(tmp_path)
    loaded, forgotten = worker.load(announced), worker.load(announced)
    assert worker.memory.used_bytes == 2 * loaded.memory_bytes
    loaded.session.close()
    assert worker.memory.used_bytes == loaded.memory_bytes
    del forgotten
    gc.collect()
    assert worker.memory.used_bytes == 0


def test_two_do_not_fit_where_there_is_room_for_one_and_the_second_does_once_the_first_is_closed(
    tmp_path: Path, announced: Announced
) -> None:
    size = Worker(tmp_path).load(announced).memory_bytes
    worker = Worker(tmp_path, budget=size * 3 // 2)
    first = worker.load(announced)
    states: list[State] = []
    with pytest.raises(NoRoomError) as caught:
        worker.load(announced, states)
    assert not caught.value.rejected
    assert State.LOADING not in states, "the runtime never saw it"
    assert worker.memory.used_bytes == size
    first.session.close()
    worker.load(announced)


def test_a_load_that_fails_after_it_took_memory_gives_it_back(
    tmp_path: Path, announced: Announced, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(tmp_path)
    worker.load(announced).session.close()  # the trial has passed

    def fail(*_: object) -> None:
        raise ModelError(status_pb2.WARMUP, "no")

    monkeypatch.setattr("serving.models.loader.run_samples", fail)
    with pytest.raises(ModelError, match="no"):
        worker.load(announced)
    assert worker.memory.used_bytes == 0


def announce(folder: Path, limits: Limits, shape: tuple[int | str, ...] = ("batch", 2)) -> Announced:
    (folder / "built").mkdir()
    build_bundle(from_onnx(doubler(shape), None), folder / "built", about=About(limits=limits))
    return stored(folder)


def refusal(folder: Path, announced: Announced) -> ModelError:
    with pytest.raises(ModelError) as caught:
        Worker(folder).load(announced)
    return caught.value


def test_a_model_slower_than_its_manifest_says_is_not_loaded_and_may_be_tried_again(tmp_path: Path) -> None:
    slow = announce(tmp_path, Limits(latency_ms={1: 60_000.0, 64: 1e-6}))
    for _ in range(2):
        error = refusal(tmp_path, slow)
        assert (error.kind, error.rejected) == (status_pb2.WARMUP, False)
        assert str(error).startswith("limits.latency_ms of 64 rows: expected at most 1e-06, got ")
    assert Verdicts(tmp_path / "verdicts").passed(slow.digest, 0) is None


def test_a_model_as_fast_as_its_manifest_says_is_loaded(tmp_path: Path) -> None:
    Worker(tmp_path).load(announce(tmp_path, Limits(latency_ms={1: 60_000.0, 64: 60_000.0})))


def test_a_model_of_one_shape_cannot_keep_to_a_latency_of_others(tmp_path: Path) -> None:
    error = refusal(tmp_path, announce(tmp_path, Limits(latency_ms={64: 60_000.0}), (3, 2)))
    assert (error.kind, error.rejected) == (status_pb2.WARMUP, True)


def test_a_trial_that_takes_more_memory_than_its_manifest_says_is_refused(tmp_path: Path) -> None:
    error = refusal(tmp_path, announce(tmp_path, Limits(resident_bytes=MIB)))
    assert (error.kind, error.rejected) == (status_pb2.RESOURCE, True)
    assert str(error).startswith(f"limits.resident_bytes: expected at most {MIB}, got ")


def test_what_a_session_is_told_to_do_when_it_is_freed_is_done_once_and_for_all(tmp_path: Path) -> None:
    build(tmp_path, doubler())
    session, said = ModelSession.open(tmp_path), list[str]()
    run_samples(open_bundle(tmp_path), session)
    session.when_freed(lambda: said.append("freed"))
    assert said == []
    session.close()
    session.close()
    assert said == ["freed"]
