"""Every command explains itself."""

import subprocess
import sys

import pytest
import typer

from docs.generate import commands
from serving.cli.main import FILES
from serving.cli.main import program as commands_of
from tests.cli.program import Program

COMMANDS = dict(commands(typer.main.get_command(commands_of())))


def test_the_commands_of_the_issue_are_there() -> None:
    wanted = {"serve", "publish", "rollout", "rollback", "unpin", "retire", "retry", "nodes", "status", "demo"}
    assert wanted <= set(COMMANDS)


@pytest.mark.parametrize(("file", "named"), FILES.items())
def test_a_file_is_found_by_each_command_that_it_adds(file: str, named: tuple[str, ...]) -> None:
    for name in named:
        added = typer.main.get_command(commands_of(name)).commands  # type: ignore[attr-defined]
        assert tuple(added) == named, f"{file}: the table of files says otherwise"


def test_a_command_does_not_wait_for_the_libraries_of_others() -> None:
    script = "import sys; from serving.cli.main import program; program('status'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert "serving.cli.nodes" in loaded
    assert {"onnx", "onnxruntime", "grpc", "matplotlib", "serving.cli.publish"} & set(loaded) == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_and_argument_of_a_command_is_described(program: Program, name: str) -> None:
    command = COMMANDS[name]
    undescribed = [p.name for p in command.params if p.name != "help" and not (p.help or "").strip()]
    assert undescribed == []
    assert command.help
    shown = program(*name.split(), "--help")
    assert (shown.code, shown.err) == (0, "")
    assert "Traceback" not in shown.out
    options = [option for parameter in command.params for option in parameter.opts if option.startswith("-")]
    assert [option for option in options if option not in shown.out] == []


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"serve"}))
def test_every_command_whose_output_a_program_could_want_has_json(name: str) -> None:
    assert "--json" in [option for parameter in COMMANDS[name].params for option in parameter.opts]


def test_without_a_command_the_help_is_shown(program: Program) -> None:
    shown = program()
    assert "Near-line prediction serving" in shown.out + shown.err
    assert "publish" in shown.out + shown.err
    assert program("--help").code == 0
