"""`nearline bench` against a real node: its figures are the node's own."""

import json
from pathlib import Path

import pytest

from publisher.api import publish
from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.models import doubler, items_of, publish_recommender
from tests.end_to_end.waiting import wait_until


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path, {"workers": "1"})


def test_sources_are_told_apart_and_every_call_is_counted(
    installation: Installation, node: Node, tmp_path: Path
) -> None:
    publish_recommender(installation, "shop", 1)
    installation.wait_for_state("shop", 1, {"READY"}, 2)
    installation.ask("event", "ann", f"item={items_of(1)[0]}")

    def known() -> bool:
        answer = installation.ask("recommend", "shop", "ann", "--target", node.address)
        return bool(answer["source"] == "NEARLINE")

    wait_until(known, "a near-line answer for ann")
    (tmp_path / "ids").write_text("ann\nbob\n")
    said = installation.ask(
        "bench", "--model", "shop", "--target", node.address, "--entities", str(tmp_path / "ids"), "--rate", "200",
        "--duration", "1", "--warm", "0.1", "--processes", "2", "--timeout", "60", "--out", str(tmp_path / "out.json"),
        "--chart", str(tmp_path / "chart.png"),
    )  # fmt: skip
    assert (said["failed"], said["unsent"], said["errors"]) == (0, 0, {})
    assert set(said["kinds"]) == {"NEARLINE", "FALLBACK"}
    assert said["answered"] == sum(kind["count"] for kind in said["kinds"].values())
    assert said["answered"] == round(said["offered_per_s"])
    assert json.loads((tmp_path / "out.json").read_text()) == said
    assert (tmp_path / "chart.png").stat().st_size > 1_000

    table = installation.run(
        "bench", "--model", "shop", "--target", node.address, "--closed", "4", "--duration", "0.5", "--warm", "0"
    )
    assert table.returncode == 0, table.stderr
    assert "FALLBACK" in table.stdout
    assert "p99.9" in table.stdout


def test_any_model_can_be_inferred_and_an_unknown_one_is_said(installation: Installation, node: Node) -> None:
    publish("doubler", doubler(), settings=installation.settings())
    installation.wait_for_state("doubler", 1, {"READY"}, 2)
    said = installation.ask(
        "bench", "--model", "doubler", "--infer", "--rows", "3", "--target", node.address, "--closed", "4",
        "--duration", "0.5", "--warm", "0",
    )  # fmt: skip
    assert said["failed"] == 0
    assert said["kinds"]["ANSWER"]["count"] == said["answered"] > 0

    lost = installation.run(
        "bench", "--model", "nothing", "--target", node.address, "--closed", "2", "--duration", "0.2"
    )
    assert lost.returncode == 1
    assert "NOT_FOUND" in lost.stderr
    assert len(lost.stderr.splitlines()) == 1
