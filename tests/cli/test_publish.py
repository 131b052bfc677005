"""`nearline publish`."""

import sys
from pathlib import Path

import joblib
import lightgbm
import numpy as np
import onnx
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression

from protos.ledger import World
from protos.nearline.v1.status_pb2 import FAILED, FETCHING, READY
from publisher.ledger import Ledger
from serving.bus.connect import connect_bus
from serving.cli.errors import FAILED as DID_NOT_WORK
from serving.cli.errors import NO_NODE, NOT_READY, USAGE
from tests.builders.graphs import ROWS, recommender
from tests.cli.conftest import Fleet
from tests.cli.program import Program


def world(program: Program) -> World:
    bus = connect_bus(program.settings)
    try:
        return Ledger(bus, program.settings.topics).read()
    finally:
        bus.close()


def test_a_file_becomes_the_next_version(program: Program, graph: str) -> None:
    first = program("publish", "m", graph)
    assert (first.code, first.out.split(" (")[0]) == (0, "m version 1 is announced")
    said = program.ask("publish", "m", graph)
    assert set(said) == {"model", "version", "digest", "uri", "offset", "again", "gate"}
    assert all(check["passed"] for check in said["gate"])
    assert (said["model"], said["version"]) == ("m", 2)


def test_a_joblib_file_becomes_a_version(program: Program, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((50, 2))
    joblib.dump(LogisticRegression().fit(rows, rows[:, 0] > 0), tmp_path / "m.joblib")
    said = program.ask("publish", "m", str(tmp_path / "m.joblib"))
    assert said["version"] == 1
    (compared,) = (check for check in said["gate"] if check["name"] == "answers as the original")
    assert compared["actual"].startswith("largest difference ")
    assert compared["actual"].endswith(" of 16")


def test_a_recommender_is_published_with_its_items_recipe_and_samples(program: Program, tmp_path: Path) -> None:
    onnx.save(recommender(), tmp_path / "m.onnx")
    (tmp_path / "items.txt").write_text("\n".join(f"item-{row}" for row in range(ROWS)) + "\n")
    (tmp_path / "popular.txt").write_text("item-3\nitem-1\n")
    (tmp_path / "recipe.json").write_text('{"history": {"op": "last_n", "n": 4, "field": "film"}}')
    np.savez(tmp_path / "samples.npz", history=np.zeros((2, 4), np.int64))
    np.save(tmp_path / "samples.npy", np.zeros((2, 4), np.int64))
    options = ["--items", "items.txt", "--popular", "popular.txt", "--recipe", "recipe.json"]
    command = [str(tmp_path / part) if part.endswith((".txt", ".json")) else part for part in options]
    one, other = (
        program.ask("publish", "m", str(tmp_path / "m.onnx"), *command, "--samples", str(tmp_path / name))
        for name in ("samples.npz", "samples.npy")
    )
    assert one["digest"] == other["digest"], "an array without a name is for the only input"


@pytest.mark.parametrize(
    ("said", "option", "held"),
    [
        ("hold: true", [], True),
        ("hold: true", ["--no-hold"], False),
        ("hold: false", ["--hold"], True),
        ("hold: false", [], False),
        ("owner: me", ["--held"], True),
        ("owner: me", [], False),
    ],
)
def test_a_version_is_held_as_its_manifest_says_unless_an_option_says_otherwise(
    program: Program, graph: str, tmp_path: Path, said: str, option: list[str], held: bool
) -> None:
    (tmp_path / "manifest.yaml").write_text(said)
    program.ask("publish", "m", graph, "--manifest", str(tmp_path / "manifest.yaml"), *option)
    assert world(program).models["m"].versions[1].held is held


def test_waiting_without_a_node_has_an_exit_code_of_its_own(program: Program, graph: str) -> None:
    ended = program("publish", "m", graph, "--wait")
    assert ended.code == NO_NODE
    assert ended.out.startswith("m version 1 is announced")
    assert ended.error == "no node is live, so nobody loads it yet; run `nearline serve`"


def test_waiting_ends_when_every_instance_is_ready(program: Program, graph: str, fleet: Fleet) -> None:
    said = program.ask("publish", "m", graph, "--version", "1")
    fleet.live("w0")
    fleet.say("w0", 1, said["digest"], READY)
    again = program.ask("publish", "m", graph, "--version", "1", "--wait")
    assert again["live_workers"] == 1
    assert [(i["worker"], i["state"]) for i in again["instances"]] == [("w0", "READY")]


def test_waiting_for_an_instance_that_failed_says_so_in_table_line_and_code(
    program: Program, graph: str, fleet: Fleet
) -> None:
    said = program.ask("publish", "m", graph, "--version", "1")
    fleet.live("w0")
    fleet.live("w1")
    fleet.say("w0", 1, said["digest"], READY)
    fleet.say("w1", 1, said["digest"], FAILED, error="output [batch, k] is none [/bold]")
    ended = program("publish", "m", graph, "--version", "1", "--wait")
    assert ended.code == NOT_READY
    assert "LOAD: output [batch, k] is none [/bold]" in ended.out
    assert "1 of 2 instances failed; what served before goes on serving." in ended.err
    assert "nearline retry m" in ended.err


def test_waiting_ends_in_time(program: Program, graph: str, fleet: Fleet) -> None:
    said = program.ask("publish", "m", graph, "--version", "1")
    fleet.live("w0")
    fleet.say("w0", 1, said["digest"], FETCHING)
    ended = program("publish", "m", graph, "--version", "1", "--wait", "--timeout", "0.1", "--json")
    assert (ended.code, ended.json["instances"][0]["state"]) == (NOT_READY, "FETCHING")
    assert ended.error == "not every instance was ready within 0.1 s; see `nearline status`"


def test_a_conflict_is_one_line_that_names_a_free_version(program: Program, graph: str, tmp_path: Path) -> None:
    program("publish", "m", graph, "--version", "3")
    onnx.save(recommender(), tmp_path / "other.onnx")
    ended = program("publish", "m", str(tmp_path / "other.onnx"), "--version", "3")
    assert ended.code == USAGE
    assert ended.error.startswith("version 3 of m exists with digest ")
    assert ended.error.endswith("leave --version out to take 4")


def test_what_was_published_before_is_said_to_be_so_and_cannot_be_held_or_let_go(program: Program, graph: str) -> None:
    program("publish", "m", graph, "--version", "1")
    again = program("publish", "m", graph, "--version", "1")
    assert (again.code, again.out.split(" (")[0]) == (
        0,
        "m version 1 was announced already, the same bundle: nothing changed",
    )
    ended = program("publish", "m", graph, "--version", "1", "--hold")
    assert ended.code == USAGE
    assert ended.error.startswith("version 1 of m was announced without --hold, so it may serve already")
    program("publish", "m", graph, "--version", "2", "--hold")
    ended = program("publish", "m", graph, "--version", "2")
    assert ended.code == USAGE
    assert ended.error.endswith("`nearline rollout m --version 2` gives it traffic")
    assert program("publish", "m", graph, "--version", "2", "--dry-run").code == USAGE


def test_a_manifest_may_say_that_a_version_is_held(program: Program, graph: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.yaml").write_text("{owner: me, hold: true}")
    program("publish", "m", graph, "--manifest", str(tmp_path / "manifest.yaml"))
    assert program.ask("models")["models"][0]["held"] == [1]
    (tmp_path / "manifest.yaml").write_text("hold: soon")
    ended = program("publish", "m", graph, "--manifest", str(tmp_path / "manifest.yaml"))
    assert (ended.code, ended.error) == (USAGE, "--manifest hold: expected true or false, got 'soon'")


def test_a_model_that_fails_its_trial_did_not_work(program: Program, tmp_path: Path) -> None:
    graph = recommender()
    graph.graph.node[0].op_type = "Divine"
    onnx.save(graph, tmp_path / "m.onnx")
    ended = program("publish", "m", str(tmp_path / "m.onnx"))
    assert ended.code == DID_NOT_WORK
    assert ended.error.startswith("LOAD: ")
    assert program.ask("status")["instances"] == []


@pytest.mark.parametrize(
    ("option", "name", "content", "message"),
    [
        ("--items", "none.txt", None, "--items: expected a file of UTF-8 text, got "),
        ("--items", "items.txt", b"\xff\xfe\xff", "--items: expected a file of UTF-8 text, got "),
        ("--recipe", "r.json", b"{", "--recipe file: expected "),
        ("--recipe", "r.json", b'{"x": {"op": "magic"}}', "--recipe x.op: expected "),
        ("--samples", "s.npz", b"nonsense", "--sample: expected a .parquet, .csv, .npz or .npy file, got "),
        ("--samples", "s.npz", b"PK\x03\x04nonsense", "--sample: expected a .parquet, .csv, .npz or .npy file, got "),
        ("--samples", "s.npz", b"", "--sample: expected a .parquet, .csv, .npz or .npy file, got "),
        ("--samples", "s.npy", None, "--sample: expected a .parquet, .csv, .npz or .npy file, got "),
    ],
)
def test_a_wrong_file_is_named_by_its_option(
    program: Program, graph: str, tmp_path: Path, option: str, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    ended = program("publish", "m", graph, option, str(tmp_path / name))
    assert (ended.code, ended.out) == (USAGE, "")
    assert ended.error.startswith(message)


def test_a_wrong_name_version_or_file_is_one_line(program: Program, graph: str) -> None:
    assert program("publish", "M", graph).error == "model name: expected [a-z][a-z0-9_-]{0,63}, got 'M'"
    assert program("publish", "m", graph, "--version", "0").error.startswith("version: expected a positive integer")
    gone = program("publish", "m", "none.onnx")
    assert (gone.code, gone.error) == (USAGE, "MODEL: expected a file that exists, got none.onnx")


def test_a_function_is_found_by_name_from_the_working_directory(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "their_graphs.py").write_text(
        "from tests.builders.graphs import doubler\n\ndef build(): return doubler()\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "their_graphs", raising=False)
    assert program.ask("publish", "twice", "their_graphs:build")["version"] == 1


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_sample_rows_come_from_a_table_by_column(program: Program, tmp_path: Path, suffix: str) -> None:
    rows = pl.DataFrame({"age": [20.5, 31.0, 47.25], "spend": [1.0, None, 3.5], "label": [0, 1, 0]})
    (rows.write_parquet if suffix == "parquet" else rows.write_csv)(tmp_path / f"rows.{suffix}")
    frame = rows.select("age", "spend").to_numpy()
    trained = lightgbm.train(
        {"objective": "binary", "verbose": -1, "min_data_in_leaf": 1},
        lightgbm.Dataset(frame, [0, 1, 0], feature_name=["age", "spend"]),
        2,
    )
    trained.save_model(tmp_path / "m.txt")
    published = program.ask("publish", "m", str(tmp_path / "m.txt"), "--sample", str(tmp_path / f"rows.{suffix}"))
    (samples,) = (program.settings.data_dir / "artifacts").rglob("samples.npz")
    np.testing.assert_array_equal(np.load(samples)["X"], frame.astype(np.float32))
    assert published["version"] == 1


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("rows.parquet", b"nonsense", ""),
        ("rows.csv", b"", ""),
        ("rows.csv", None, ""),
        ("rows.csv", b"a,b\nx,1\n,2\n", "column 'a' has empty cells"),
    ],
)
def test_a_table_that_is_none_is_refused(
    program: Program, graph: str, tmp_path: Path, name: str, content: bytes | None, words: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    said = program("publish", "m", graph, "--sample", str(tmp_path / name)).error
    assert said.startswith("--sample: expected a ")
    assert words in said


@pytest.mark.parametrize(
    ("code", "hook", "message"),
    [
        ("def hook(:\n", "broken_hook:hook", "got broken_hook:hook (SyntaxError: invalid syntax"),
        ("hook = 3\n", "number_hook:hook", "--hook: expected a function, got number_hook:hook, of type int"),
        ("", "empty_hook:hook", "(AttributeError: "),
        ("", "none_at_all:hook", "(ModuleNotFoundError: "),
    ],
)
def test_a_hook_that_cannot_be_called_is_an_error_of_one_line(
    program: Program, graph: str, code: str, hook: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (program.folder / f"{hook.partition(':')[0].replace('none_at_all', 'other')}.py").write_text(code)
    monkeypatch.syspath_prepend(program.folder)
    ended = program("publish", "m", graph, "--hook", hook)
    assert (ended.code, ended.err.count("\n")) == (USAGE, 1), ended.err
    assert message in ended.err
