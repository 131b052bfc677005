"""What a node has learnt of digests."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from protos.nearline.v1 import status_pb2
from serving.errors import ModelError
from serving.models.verdicts import Verdicts

DIGEST = "d" * 64


@pytest.fixture
def verdicts(tmp_path: Path) -> Verdicts:
    return Verdicts(tmp_path / "verdicts")


_never_ended: list[object] = []


def die_while_loading(folder: Path, worker: str = "w0", epoch: int = 0) -> None:
    """Leave what a process leaves that is killed while it loads: an attempt that never ends."""
    attempt = Verdicts(folder / "verdicts").attempt(DIGEST, worker, epoch)
    attempt.__enter__()
    _never_ended.append(attempt)  # else its end would run when it is collected


def refusal(verdicts: Verdicts, epoch: int = 0) -> ModelError:
    with pytest.raises(ModelError) as caught:
        verdicts.passed(DIGEST, epoch)
    assert caught.value.rejected
    return caught.value


def test_nothing_is_known_at_first(verdicts: Verdicts) -> None:
    assert verdicts.passed(DIGEST, 0) is None


def test_a_passed_trial_is_remembered_by_the_whole_node(verdicts: Verdicts, tmp_path: Path) -> None:
    with verdicts.lock(DIGEST):
        verdicts.record_pass(DIGEST, 7)
    assert Verdicts(tmp_path / "verdicts").passed(DIGEST, 0) == 7


def test_a_refusal_holds_until_a_retrial_of_a_higher_epoch(verdicts: Verdicts) -> None:
    verdicts.record_refusal(DIGEST, 3, ModelError(status_pb2.TIMEOUT, "slow", detail="words", rejected=True))
    error = refusal(verdicts, 3)
    assert (error.kind, str(error), error.detail) == (status_pb2.TIMEOUT, "slow", "words")
    assert verdicts.passed(DIGEST, 4) is None


def test_workers_that_refuse_one_digest_at_once_are_not_in_each_others_way(tmp_path: Path) -> None:
    began = threading.Barrier(4)

    def refuse(_worker: int) -> None:
        own = Verdicts(tmp_path / "verdicts")
        began.wait()
        for _ in range(100):
            own.record_refusal(DIGEST, 0, ModelError(status_pb2.RUN, "NaN", rejected=True))

    with ThreadPoolExecutor(4) as workers:
        list(workers.map(refuse, range(4)))
    assert [path.name for path in (tmp_path / "verdicts").iterdir()] == [f"{DIGEST}.json"]
    assert refusal(Verdicts(tmp_path / "verdicts")).kind == status_pb2.RUN


@pytest.mark.parametrize(
    "text",
    [
        '{"passed": true, "runtime": ""}',
        "",
        "{",
        "[]",
        "{}",
        '{"kind": "NO_SUCH", "message": "", "epoch": 0}',
        "\0" * 9,
    ],
)
def test_a_damaged_verdict_is_none(text: str, verdicts: Verdicts, tmp_path: Path) -> None:
    verdicts.record_pass(DIGEST, 7)
    (tmp_path / "verdicts" / f"{DIGEST}.json").write_text(text)
    assert verdicts.passed(DIGEST, 0) is None


def test_one_death_while_loading_proves_nothing(verdicts: Verdicts, tmp_path: Path) -> None:
    die_while_loading(tmp_path)
    assert verdicts.recover("w0") == []
    assert verdicts.passed(DIGEST, 0) is None


def test_two_deaths_in_a_row_are_a_quarantine(verdicts: Verdicts, tmp_path: Path) -> None:
    verdicts.record_pass(DIGEST, 7)
    die_while_loading(tmp_path)
    die_while_loading(tmp_path)
    assert verdicts.recover("w0") == [DIGEST]
    error = refusal(verdicts)
    assert (error.kind, "2 times in a row" in str(error)) == (status_pb2.CRASH, True)
    assert verdicts.recover("w0") == []
    assert verdicts.passed(DIGEST, 1) is None


def test_a_load_that_ends_in_between_starts_the_count_anew(verdicts: Verdicts, tmp_path: Path) -> None:
    die_while_loading(tmp_path)
    with verdicts.attempt(DIGEST, "w0", 0):
        pass
    die_while_loading(tmp_path)
    assert verdicts.recover("w0") == []


def test_a_load_that_fails_is_no_death(verdicts: Verdicts) -> None:
    for _ in range(3):
        with pytest.raises(ModelError), verdicts.attempt(DIGEST, "w0", 0):
            raise ModelError(status_pb2.LOAD, "no")
    assert verdicts.recover("w0") == []


def test_workers_are_judged_by_their_own_deaths(verdicts: Verdicts, tmp_path: Path) -> None:
    die_while_loading(tmp_path, "w0")
    die_while_loading(tmp_path, "w1")
    assert verdicts.recover("w0") == verdicts.recover("w1") == []


def test_models_of_one_digest_that_load_at_once_die_once(tmp_path: Path) -> None:
    verdicts = Verdicts(tmp_path)
    with verdicts.attempt(DIGEST, "w0", 0):
        with verdicts.attempt(DIGEST, "w0", 0):
            assert Verdicts(tmp_path).recover("w0") == [], "had the process been killed here, that was once"
        assert list(tmp_path.glob(f"{DIGEST}@*")), "the other one still loads"
    assert list(tmp_path.glob(f"{DIGEST}@*")) == []


def test_without_room_for_its_mark_a_model_is_loaded_nevertheless(tmp_path: Path) -> None:
    (tmp_path / f"{DIGEST}@w0").mkdir()  # nothing can be written there
    loaded = False
    with Verdicts(tmp_path).attempt(DIGEST, "w0", 0):
        loaded = True
    assert loaded
