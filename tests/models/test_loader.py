"""From an announcement to a model in memory, with real files."""

import gc
import os
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from protos.digest import bundle_digest
from protos.nearline.v1 import status_pb2
from protos.records import Announced
from publisher.build import build_bundle, list_files
from publisher.sources.onnx_graph import from_onnx
from serving.artifacts.cache import BundleCache
from serving.artifacts.holds import Claim, hold_path
from serving.artifacts.store import FsspecArtifacts
from serving.bundles.about import About, Limits
from serving.bundles.bundle import GRAPH, WEIGHTS
from serving.errors import ModelError
from serving.models.lifecycle import NotWantedError, State
from serving.models.loader import Loader
from serving.models.verdicts import Verdicts
from tests.builders.bundles import build, build_recommender
from tests.builders.graphs import N, doubler, recommender
from tests.models.stage import STEPS
from tests.models.test_verdicts import die_while_loading


def loader(folder: Path, worker: str = "w0") -> Loader:
    artifacts = FsspecArtifacts((folder / "artifacts").as_uri())
    cache = BundleCache(folder / "bundles", artifacts, 1 << 30)
    return Loader(cache, Verdicts(folder / "verdicts"), worker, trial_timeout_s=200, trial_memory_bytes=1 << 30)


def publish(folder: Path, *, bad: bool = False) -> Announced:
    built = folder / "built"
    if bad:
        build_recommender(built, recommender(bad_row=1))
    else:
        build(built)
    return stored(folder)


def stored(folder: Path) -> Announced:
    built = folder / "built"
    files = list_files(built)
    digest = bundle_digest(files)
    paths = {file.path: built / file.path for file in files}
    uri = FsspecArtifacts((folder / "artifacts").as_uri()).put(digest, paths)
    return Announced(1, digest, uri, tuple(files), held=False, offset=0, created_at_ms=0)


def refusal(folder: Path, announced: Announced, retrial: int = 0) -> ModelError:
    with pytest.raises(ModelError) as caught:
        loader(folder).load("m", announced, retrial, lambda _state: None, lambda: True)
    return caught.value


def test_a_bundle_is_fetched_verified_tried_loaded_and_warmed_up(tmp_path: Path) -> None:
    announced, states = publish(tmp_path), list[State]()
    loaded = loader(tmp_path).load("m", announced, 0, states.append, lambda: True)
    assert tuple(states) == STEPS
    assert (loaded.model, loaded.version, loaded.digest) == ("m", 1, announced.digest)
    items = loaded.session.run({"history": np.full((1, N), 3, np.int64)}, ["items"])[0]
    assert items[0, 0] == 4
    assert loaded.seen is not None
    assert loaded.seen.shapes == {"history": (N,)}
    assert loaded.seen.seconds > 0
    assert Verdicts(tmp_path / "verdicts").passed(announced.digest, 0)
    assert list((tmp_path / "verdicts").glob("*@*")) == []


def test_another_worker_of_the_node_needs_neither_artifacts_nor_a_trial(tmp_path: Path) -> None:
    announced = publish(tmp_path)
    loader(tmp_path).load("m", announced, 0, lambda _state: None, lambda: True)
    (tmp_path / "artifacts").rename(tmp_path / "gone")
    states = list[State]()
    loader(tmp_path, "w1").load("m", announced, 0, states.append, lambda: True)
    assert tuple(states) == STEPS


def test_bytes_that_flipped_on_the_disk_do_not_serve_after_a_restart(tmp_path: Path) -> None:
    announced = publish(tmp_path)
    first = loader(tmp_path).load("m", announced, 0, lambda _state: None, lambda: True)
    weights = tmp_path / "bundles" / announced.digest / WEIGHTS
    sound = weights.read_bytes()
    weights.unlink()  # the loaded one keeps its own
    weights.write_bytes(bytes(len(sound)))
    again = loader(tmp_path).load("m", announced, 0, lambda _state: None, lambda: True)
    history = {"history": np.full((1, N), 3, np.int64)}
    for one, other in zip(first.session.run(history, None), again.session.run(history, None), strict=True):
        assert np.array_equal(one, other)
    assert weights.read_bytes() == sound


def test_a_bundle_is_in_use_for_as_long_as_its_session_is_there(tmp_path: Path) -> None:
    announced = publish(tmp_path)
    use = hold_path(tmp_path / "bundles", announced.digest)
    loaded = loader(tmp_path).load("m", announced, 0, lambda _state: None, lambda: True)
    with Claim(use) as claim:
        assert not claim.taken
    del loaded
    gc.collect()
    with Claim(use) as claim:
        assert claim.taken


def test_a_load_that_failed_uses_nothing(tmp_path: Path) -> None:
    announced = publish(tmp_path, bad=True)
    refusal(tmp_path, announced)
    with Claim(hold_path(tmp_path / "bundles", announced.digest)) as claim:
        assert claim.taken


def test_what_is_not_wanted_any_more_stops_at_its_next_step(tmp_path: Path) -> None:
    announced = publish(tmp_path)

    def enter(state: State) -> None:
        if state is State.VERIFYING:
            raise NotWantedError

    with pytest.raises(NotWantedError):
        loader(tmp_path).load("m", announced, 0, enter, lambda: True)
    assert not (tmp_path / "bundles" / announced.digest).exists()


def test_a_refused_digest_is_neither_downloaded_nor_tried_again_until_a_retrial(tmp_path: Path) -> None:
    announced = publish(tmp_path, bad=True)
    assert refusal(tmp_path, announced).kind == status_pb2.WARMUP
    (tmp_path / "artifacts").rename(tmp_path / "gone")
    again = refusal(tmp_path, announced)
    assert (again.kind, again.rejected) == (status_pb2.WARMUP, True)
    assert refusal(tmp_path, announced, retrial=1).rejected


def test_a_verdict_that_cannot_be_written_is_logged_and_nothing_more(tmp_path: Path) -> None:
    (tmp_path / "verdicts").write_text("no folder")
    with capture_logs() as said:
        loader(tmp_path).refuse("d" * 64, 0, ModelError(status_pb2.RUN, "NaN", rejected=True))
    assert [line["event"] for line in said] == ["verdict.unwritable"]


def test_an_unreachable_bundle_may_be_tried_again(tmp_path: Path) -> None:
    announced = publish(tmp_path)
    (tmp_path / "artifacts").rename(tmp_path / "gone")
    error = refusal(tmp_path, announced)
    assert (error.kind, error.rejected) == (status_pb2.FETCH, False)


def test_a_bundle_of_other_bytes_is_rejected_before_the_runtime_sees_it(tmp_path: Path) -> None:
    announced = publish(tmp_path)
    (path,) = (tmp_path / "artifacts").rglob(GRAPH)
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    os.chmod(path, 0o644)  # noqa: PTH101 - the store may keep files read-only
    path.write_bytes(data)
    error = refusal(tmp_path, announced)
    assert (error.kind, error.rejected) == (status_pb2.DIGEST, True)


def test_a_bundle_that_killed_this_worker_twice_is_not_loaded_a_third_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    announced = publish(tmp_path)
    loader(tmp_path).load("m", announced, 0, lambda _state: None, lambda: True)
    monkeypatch.setattr("tests.models.test_verdicts.DIGEST", announced.digest)
    die_while_loading(tmp_path)
    die_while_loading(tmp_path)
    error = refusal(tmp_path, announced)
    assert (error.kind, error.rejected) == (status_pb2.CRASH, True)
    loader(tmp_path, "w0").load("m", announced, 1, lambda _state: None, lambda: True)


def test_a_load_that_nobody_wants_any_more_abandons_its_trial(tmp_path: Path) -> None:
    announced = publish(tmp_path)
    with pytest.raises(NotWantedError):
        loader(tmp_path).load("m", announced, 0, lambda _state: None, lambda: False)
    assert not Verdicts(tmp_path / "verdicts").passed(announced.digest, 0), "it may be tried again"


def test_what_another_runtime_refused_is_judged_anew(tmp_path: Path) -> None:
    error = ModelError(status_pb2.LOAD, "no such operator", rejected=True)
    Verdicts(tmp_path, "1.0").record_refusal("d" * 64, 0, error)
    assert not Verdicts(tmp_path, "2.0").passed("d" * 64, 0)
    with pytest.raises(ModelError, match="no such operator"):
        Verdicts(tmp_path, "1.0").passed("d" * 64, 0)


def test_a_trial_keeps_to_the_limits_of_the_manifest(tmp_path: Path) -> None:
    built = tmp_path / "built"
    built.mkdir()
    build_bundle(from_onnx(doubler(), None), built, about=About(limits=Limits(trial_s=0.001)))
    error = refusal(tmp_path, stored(tmp_path))
    assert (error.kind, error.rejected) == (status_pb2.TIMEOUT, True)


def test_a_bundle_that_is_not_trusted_is_refused_before_anything_parses_it(tmp_path: Path) -> None:
    announced, states = publish(tmp_path), list[State]()

    def refuse(model: str, what: Announced) -> None:
        assert (model, what) == ("m", announced)
        raise ModelError(status_pb2.SIGNATURE, "by nobody", rejected=True)

    artifacts = FsspecArtifacts((tmp_path / "artifacts").as_uri())
    refusing = Loader(
        BundleCache(tmp_path / "bundles", artifacts, 1 << 30),
        Verdicts(tmp_path / "verdicts"),
        "w0",
        trial_timeout_s=200,
        trial_memory_bytes=1 << 30,
        trusted=refuse,
    )
    with pytest.raises(ModelError, match="by nobody"):
        refusing.load("m", announced, 0, states.append, lambda: True)
    assert states == [State.FETCHING, State.VERIFYING], "its bytes were compared, and it was neither tried nor loaded"
