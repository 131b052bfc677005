"""Errors of every command: one line, an exit code, no traceback; with --json, JSON."""

import time
from pathlib import Path

import pytest

from protos.names import InvalidNameError
from protos.nearline.v1 import status_pb2
from serving.cli import errors
from serving.cli.errors import CODES, FAILED, OK, UNAVAILABLE, USAGE, exit_code
from serving.errors import BusUnavailableError, InvalidRequestError, ModelError, NotFoundError, PositionConflictError
from tests.cli.program import Program

COMMANDS: dict[str, list[str]] = {
    "publish": ["publish", "m", "m.onnx"],
    "rollout": ["rollout", "m", "--version", "1"],
    "rollback": ["rollback", "m"],
    "unpin": ["unpin", "m"],
    "retire": ["retire", "m", "1"],
    "retry": ["retry", "m"],
    "status": ["status"],
    "nodes": ["nodes"],
    "event": ["event", "ann", "item=a"],
    "dead-letters": ["dead-letters", "--retry", "--yes"],
    "erase": ["erase", "ann", "--yes"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_broker_that_is_not_there_is_said_within_seconds(
    program: Program, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("NEARLINE_BUS", "kafka://127.0.0.1:1")
    monkeypatch.setenv("NEARLINE_ARTIFACTS", "memory://a")
    began = time.monotonic()
    ended = program(*COMMANDS[command])
    assert time.monotonic() - began < 60
    assert (ended.code, ended.out) == (UNAVAILABLE, "")
    assert ended.error.startswith("Kafka at 127.0.0.1:1: no broker listens")
    assert ended.error.endswith("check the address and start Kafka")


@pytest.mark.parametrize("command", COMMANDS)
def test_with_json_an_error_is_json_too(program: Program, command: str) -> None:
    ended = program(*COMMANDS[command], "--bus", "carrier-pigeon", "--json")
    assert (ended.code, ended.err) == (USAGE, "")
    assert ended.json == {"error": "bus: expected `embedded`, or kafka://host:port[,host:port], got 'carrier-pigeon'"}


@pytest.mark.parametrize("command", [*COMMANDS, "serve"])
def test_a_wrong_variable_is_named(program: Program, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("NEARLINE_WORKERS", "many")
    ended = program(*COMMANDS.get(command, [command]))
    assert ended.code == USAGE
    assert ended.error.startswith("NEARLINE_WORKERS: expected a valid integer")
    assert ended.error.endswith("got 'many'")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_data_directory_that_can_not_be_one_is_one_line(program: Program, tmp_path: Path, command: str) -> None:
    (tmp_path / "file").write_text("no folder")
    ended = program(*COMMANDS[command], "--data-dir", str(tmp_path / "file"))
    assert ended.code == UNAVAILABLE
    assert str(tmp_path / "file") in ended.error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["publish"], "Missing argument 'NAME'; see `nearline publish --help`"),
        (["publish", "m"], "Missing argument 'MODEL'; see `nearline publish --help`"),
        (["publish", "m", "m.onnx", "--timeout", "-1"], "Invalid value for '--timeout': "),
        (["rollout", "m", "--version", "x"], "Invalid value for '--version': "),
        (["retire", "m", "x"], "Invalid value for "),
        (["status", "--bogus"], "No such option: --bogus"),
        (["nodess"], "No such command 'nodess'. Did you mean 'nodes', 'models'?; see `nearline --help`"),
    ],
)
def test_a_wrong_command_line_is_one_line_that_names_the_part(
    program: Program, arguments: list[str], message: str
) -> None:
    ended = program(*arguments)
    assert (ended.code, ended.out) == (USAGE, "")
    assert ended.error.startswith(message)
    with_json = program(*arguments, "--json")
    assert with_json.json["error"] == ended.error


def test_an_error_of_several_lines_is_printed_in_one(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_options: object) -> None:
        raise NotFoundError("first line\n  second [line]")

    monkeypatch.setattr("serving.cli.nodes.load_settings", broken)
    assert program("nodes").error == "first line second [line]"


def test_what_is_not_expected_is_a_defect_and_shows_its_traceback(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(**_options: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("serving.cli.nodes.load_settings", broken)
    with pytest.raises(ZeroDivisionError):
        program("nodes")


def test_ctrl_c_ends_quietly(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(**_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("serving.cli.nodes.load_settings", interrupted)
    ended = program("nodes")
    assert (ended.code, ended.out, ended.err) == (130, "", "")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BusUnavailableError("away"), UNAVAILABLE),
        (InvalidRequestError("field", "this", "that"), USAGE),
        (InvalidNameError("name"), USAGE),
        (ModelError(status_pb2.LOAD, "no"), FAILED),
        (PositionConflictError(), FAILED),
    ],
)
def test_each_kind_of_error_has_its_exit_code(error: Exception, code: int) -> None:
    assert exit_code(error) == code


def test_every_exit_code_is_explained_and_they_are_all_different() -> None:
    named = [value for name, value in vars(errors).items() if name.isupper() and isinstance(value, int)]
    assert sorted(named) == sorted(CODES)
    assert OK == 0
