"""What `nearline status` and `nodes` look like on terminals of any width."""

from io import StringIO

import pytest
from rich.console import Console

from serving.cli.layout import Row, print_table
from tests.cli.conftest import Fleet
from tests.cli.program import Program

WORKERS = ("nearline-0", "serving-0", "serving-11")
ERROR = "LOAD: model.onnx: expected [an] ONNX graph, got bytes that are none, and more words than a column holds"


def printed(width: int, *, node: str = "demo", text: str = ERROR) -> str:
    console = Console(file=StringIO(), width=width)
    rows = [
        Row({"model": "also-bought", "node": node, "worker": worker, "state": "REJECTED"}, text, f"n/{worker}", "m 3")
        for worker in WORKERS
    ]
    print_table(console, "instances", ("model", "node", "worker", "state"), rows, text="error")
    file = console.file
    assert isinstance(file, StringIO)
    return file.getvalue()


@pytest.mark.parametrize("node", ["n", "recsys-serving-7f9c4d8b6-abcde", "x" * 63])
@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_no_workers_name_and_no_state_is_cut(width: int, node: str) -> None:
    table = printed(width, node=node).split("m 3 on")[0]
    assert all(worker in table for worker in WORKERS)
    assert table.count("REJECTED") == 3
    assert "…" not in table
    assert all(len(line) <= width for line in table.splitlines())


def test_where_it_is_narrow_an_error_has_a_line_of_its_own_once_for_all_who_have_it() -> None:
    lines = printed(80).splitlines()
    assert lines[-2:] == ["m 3 on n/nearline-0, n/serving-0, n/serving-11", f"  {ERROR}"]


def test_where_there_is_room_it_stands_in_the_table() -> None:
    assert printed(200).count(ERROR) == 3


def test_without_errors_nothing_follows_the_table() -> None:
    assert printed(80, text="").splitlines()[-1].startswith("└")


@pytest.mark.parametrize("columns", ["80", "200"])
def test_nodes_are_shown_with_labels_at_any_width(
    program: Program, fleet: Fleet, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    fleet.live("serving-with-a-long-name-0", region="eu-central-1", application="homepage")
    monkeypatch.setenv("COLUMNS", columns)
    table = program("nodes").out
    assert "serving-with-a-long-name-0" in table
    assert "application=homepage, region=eu-central-1" in table
