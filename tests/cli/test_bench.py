"""`nearline bench` without a node: what is wrong is said before anything is loaded."""

from pathlib import Path

import pytest

from serving.cli.errors import UNAVAILABLE, USAGE
from tests.cli.program import Program


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--rate", "1", "--closed", "1"], "--rate, --closed: expected one of them, got both"),
        (["--infer", "--zipf"], "--zipf: expected nothing beside --infer, which asks for no entity, got it"),
        (["--target", "here"], "--target: expected host:port, got 'here'"),
        (["--rate", "-3"], "--rate: expected 0.001 to 1e+07, got -3"),
        (["--rows", "0", "--infer"], "--rows: expected a positive number, got 0"),
        (["--out", "/nowhere/at/all.json"], "--out: expected a file in a folder that exists, got /nowhere/at/all.json"),
        (["--chart", "chart.xls"], "--chart: expected a file that ends in .png, .svg or .pdf, got chart.xls"),
        (["--metadata", "token"], "--metadata: expected name=value, got 'token'"),
    ],
)
def test_what_cannot_be_is_one_line(program: Program, options: list[str], error: str) -> None:
    ended = program("bench", "--model", "m", *options)
    assert (ended.code, ended.error) == (USAGE, error)


def test_a_file_without_entities_is_refused(program: Program, tmp_path: Path) -> None:
    (tmp_path / "ids").write_text("\n")
    ended = program("bench", "--model", "m", "--entities", str(tmp_path / "ids"))
    assert (ended.code, ended.error) == (USAGE, f"--entities: expected at least one id, got {tmp_path / 'ids'}: none")


@pytest.mark.parametrize("options", [[], ["--infer"]])
def test_a_node_that_is_not_there_is_unavailable(program: Program, options: list[str]) -> None:
    ended = program("bench", "--model", "m", "--target", "127.0.0.1:1", *options)
    assert ended.code == UNAVAILABLE
    assert ended.error.startswith("--target 127.0.0.1:1: ")
