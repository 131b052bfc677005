"""The commands that need a node, against a real one."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.cli.errors import NOT_READY, USAGE
from tests.end_to_end.client import wait_for_version
from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.models import items_of, write_recommender


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Installation, Node]]:
    installation = Installation(tmp_path_factory.mktemp("node"), {"workers": "1", "nearline_workers": "0"})
    with Node(installation) as started:
        yield installation, started


def publish(
    installation: Installation, name: str, version: int, folder: Path, *options: str
) -> "subprocess.CompletedProcess[str]":
    graph, items = write_recommender(folder, version)
    return installation.run("publish", name, str(graph), "--items", str(items), "--wait", *options)


def test_from_publishing_to_recommending_and_back(node: tuple[Installation, Node], tmp_path: Path) -> None:
    installation, started = node
    first = publish(installation, "shop", 1, tmp_path)
    assert first.returncode == 0, first.stderr
    assert "READY" in first.stdout
    assert publish(installation, "shop", 2, tmp_path, "--json").returncode == 0
    wait_for_version(started.address, "shop", 2, "nobody")

    answer = installation.ask("recommend", "shop", "nobody", "-k", "3", "--target", started.address)
    assert (answer["items"], answer["version"], answer["source"]) == (items_of(2)[:3], 2, "FALLBACK")
    table = installation.run("recommend", "shop", "nobody", "--target", started.address)
    assert (table.returncode, "v2-0" in table.stdout) == (0, True)

    left = items_of(2)[1:3]
    said = ("recommend", "shop", "nobody", "-k", "2", "--exclude", items_of(2)[0], "--max-age", "6h")
    assert installation.ask(*said, "--target", started.address)["items"] == left

    back = installation.ask("rollback", "shop")
    assert back["lines"] == [{"scope": {}, "shares": {"1": 1.0}}]
    installation.wait_for_state("shop", 1, {"READY"}, 1)


def test_a_held_version_is_loaded_and_ends_its_way_ready(node: tuple[Installation, Node], tmp_path: Path) -> None:
    installation, _ = node
    held = publish(installation, "held", 1, tmp_path, "--held", "--json")
    assert held.returncode == 0, held.stderr
    assert [(i["state"], i["held"]) for i in json.loads(held.stdout)["instances"]] == [("READY", True)]


def test_a_version_that_fails_on_the_node_has_its_exit_code(node: tuple[Installation, Node], tmp_path: Path) -> None:
    installation, _ = node
    elsewhere = publish(installation, "lost", 7, tmp_path, "--json", "--artifacts", (tmp_path / "other").as_uri())
    assert elsewhere.returncode == NOT_READY, elsewhere.stderr
    (instance,) = json.loads(elsewhere.stdout)["instances"]
    assert instance["state"] in {"FAILED", "REJECTED"}
    assert instance["error"]["message"]
    assert len(elsewhere.stderr.splitlines()) == 1
    assert "nearline retry lost" in elsewhere.stderr
    assert installation.run("retry", "lost").returncode == 0


def test_an_unknown_objective_is_one_line(node: tuple[Installation, Node]) -> None:
    installation, started = node
    asked = installation.run("recommend", "nothing", "ann", "--target", started.address)
    assert (asked.returncode, asked.stdout) == (USAGE, "")
    assert len(asked.stderr.splitlines()) == 1
    assert "nothing" in asked.stderr


def test_nodes_shows_the_real_worker(node: tuple[Installation, Node]) -> None:
    installation, started = node
    (worker,) = installation.ask("nodes")["workers"]
    assert (worker["worker"], worker["address"], worker["live"]) == ("serving-0", started.address, True)
