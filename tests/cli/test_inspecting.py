"""`nearline inspect`, `diff`, `models`, and `publish --dry-run`: looking at models without running them."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import onnx
import pytest

from protos.ledger import World
from publisher.ledger import Ledger
from serving.bundles.bundle import SAMPLES
from serving.bus.connect import connect_bus
from tests.builders.bundles import ITEMS
from tests.builders.graphs import doubler, recommender
from tests.cli.program import Program

MANIFEST = """
owner: team-reco
tags: [shop]
stale_after: 1s
limits: {trial_s: 50}
lineage: {metrics: {recall@20: 0.31}, parents: [shop@3]}
inputs: {history: {op: last_n, n: 4}}
"""


@pytest.fixture
def shop(program: Program) -> list[str]:
    """Arguments that publish a recommender."""
    onnx.save(recommender(), program.folder / "shop.onnx")
    (program.folder / "items.txt").write_text("\n".join(ITEMS))
    (program.folder / "manifest.yaml").write_text(MANIFEST)
    (program.folder / "rows.csv").write_text("history,label\n0,1\n5,0\n5,1\n")
    files = ["--items", "items.txt", "--manifest", "manifest.yaml", "--training-data", "rows.csv"]
    return [
        "publish",
        "shop",
        str(program.folder / "shop.onnx"),
        *(str(program.folder / word) if "." in word else word for word in files),
    ]


def world(program: Program) -> World:
    bus = connect_bus(program.settings)
    try:
        return Ledger(bus, program.settings.topics).read()
    finally:
        bus.close()


def test_a_dry_run_does_everything_but_store_and_announce(program: Program, shop: list[str]) -> None:
    said = program.ask(*shop, "--dry-run")
    assert (said["dry_run"], said["model"], said["version"]) == (True, "shop", 1)
    assert said["trial"]["peak_bytes"] > 0
    assert said["bundle"]["digest"] == said["digest"]
    assert world(program).models == {}
    assert not (program.settings.data_dir / "artifacts").exists()

    assert program.ask(*shop)["digest"] == said["digest"], "it was the very bundle"
    assert program.ask(*shop, "--dry-run")["version"] == 2


def test_a_dry_run_of_a_model_that_cannot_be_published_fails_as_publishing_would(program: Program) -> None:
    graph = doubler()
    graph.graph.node[0].op_type = "Divine"
    onnx.save(graph, program.folder / "m.onnx")
    ended = program("publish", "m", str(program.folder / "m.onnx"), "--dry-run")
    assert ended.code == 1
    assert ended.error.startswith("LOAD: ")
    assert "Divine" in ended.error


def test_inspect_tells_all_that_the_bundle_says(program: Program, shop: list[str]) -> None:
    published = program.ask(*shop, "--tag", "homepage", "--metric", "recall@20=0.35", "--metric", "ndcg=0.2")
    said = program.ask("inspect", "shop")
    assert said["digest"] == published["digest"]
    assert said["signature"]["inputs"] == {"history": "INT64 [-1, 4]"}
    assert said["recipe"]["history"]["op"] == "last_n"
    assert (said["owner"], said["tags"], said["stale_after"]) == ("team-reco", ["homepage", "shop"], "1s")
    assert said["lineage"]["metrics"] == {"recall@20": 0.35, "ndcg": 0.2}, "options win over the file"
    assert said["lineage"]["parents"] == ["shop@3"]
    assert said["lineage"]["training_data"]["reference"].endswith("rows.csv")
    assert said["graph"]["operators"] == {"Gather": 1, "ReduceSum": 1, "TopK": 1}
    assert said["catalogue"] == {"items": len(ITEMS)}
    assert said["sizes"]["total"] == sum(size for name, size in said["sizes"].items() if name != "total")
    assert said["baseline"]["source"] == "training data"
    assert said["baseline"]["attributes"]["history"]["frequent"] == {ITEMS[5]: 2, ITEMS[0]: 1}
    text = program("inspect", "shop@1").out
    assert "shop version 1" in text
    assert "recall@20 0.35" in text
    assert f"{ITEMS[5]} (2)" in text


def test_a_folder_is_inspected_without_a_bus_and_its_graph_is_drawn(program: Program, shop: list[str]) -> None:
    folder = urlsplit(program.ask(*shop)["uri"]).path
    svg = program.folder / "graph.svg"
    assert program.ask("inspect", folder, "--graph", str(svg)) == program.ask("inspect", "shop@1")
    assert "TopK" in svg.read_text()
    refused = program("inspect", folder, "--graph", str(program.folder / "no" / "graph.svg"))
    assert (refused.code, refused.error.partition(",")[0]) == (2, "--graph: expected a file that can be written")


def test_a_bundle_that_is_not_what_was_announced_is_refused(program: Program, shop: list[str]) -> None:
    samples = Path(urlsplit(program.ask(*shop)["uri"]).path) / SAMPLES
    data = bytearray(samples.read_bytes())
    data[len(data) // 2] ^= 1
    samples.write_bytes(data)
    ended = program("inspect", "shop")
    assert ended.code == 1
    assert ended.error.startswith("DIGEST: samples.npz: expected SHA-256 ")


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("nope", "model: expected an announced one (shop), got 'nope'"),
        ("shop@7", "version: expected one of shop's (1), got '7'"),
        ("shop@new", "version: expected one of shop's (1), got 'new'"),
        ("./shop", "BUNDLE: expected a folder that exists, NAME or NAME@VERSION, got ./shop"),
    ],
)
def test_a_bundle_that_is_not_there_is_named(program: Program, shop: list[str], reference: str, words: str) -> None:
    program.ask(*shop)
    ended = program("inspect", reference)
    assert (ended.code, ended.error) == (2, words)


def test_diff_tells_what_changed_and_nothing_else(program: Program, shop: list[str]) -> None:
    program.ask(*shop)
    onnx.save(recommender(page=True), program.folder / "shop.onnx")
    (program.folder / "manifest.yaml").write_text(MANIFEST.replace("4}}", "4}, page: {op: last, field: p}}"))
    program.ask(*shop, "--metric", "recall@20=0.36", "--owner", "me", "--breaking")
    said = program.ask("diff", "shop", "1", "2")
    changes = {change["field"]: (change["before"], change["after"]) for change in said["changes"]}
    assert changes["signature.inputs.page"] == (None, "INT64 [-1]")
    assert changes["lineage.metrics.recall@20"] == (0.31, 0.36)
    assert changes["owner"] == ("team-reco", "me")
    assert changes["graph.operators.Gather"] == (1, 2)
    assert changes["graph.operators.Add"] == (None, 1)
    assert changes["recipe.page.op"] == (None, "last")
    assert not {"signature.inputs.history", "limits.trial_s", "tags"} & set(changes)
    assert "0.36 (+0.05)" in program("diff", "shop", "1", "2").out
    assert program.ask("diff", "shop", "1", "1")["changes"] == []
    assert "do not differ" in program("diff", "shop", "2", "2").out


def test_models_are_listed_and_searched_without_their_bundles(program: Program, shop: list[str], graph: str) -> None:
    assert "no model was announced yet" in program("models").out
    program.ask(*shop)
    program.ask("publish", "twice", graph, "--held", "--description", "two times")
    for file in (program.settings.data_dir / "artifacts").rglob("*.*"):
        file.unlink()

    def found(*arguments: str) -> dict[str, Any]:
        return {one["model"]: one for one in program.ask("models", *arguments)["models"]}

    assert set(found()) == {"shop", "twice"}
    assert set(found("--owner", "TEAM")) == set(found("--tag", "shop")) == set(found("--feature", "item")) == {"shop"}
    assert set(found("--feature", "x")) == set(found("wice")) == {"twice"}
    twice = found("twice")["twice"]
    assert (twice["newest"], twice["serving"], twice["held"], twice["stale"]) == (1, {}, [1], False)
    assert (twice["description"], twice["framework"]) == ("two times", "onnx")
    assert found("shop")["shop"]["serving"] == {"1": 1.0}
    assert "two times" in program("models").out
    assert "no such model" in program("models", "--tag", "nope").out


@pytest.mark.parametrize(
    ("manifest", "options", "words"),
    [
        ("onwer: me", [], "--manifest onwer: expected no such field, got 'me'"),
        ("[]", [], "--manifest file: expected a map of owner, description"),
        ("lineage: {metrics: {a: b}}", [], "--manifest lineage.metrics.a: expected number"),
        ("nearline: {ttl: soon}", [], "--manifest nearline.ttl: expected a length of time"),
        ("owner: me", ["--metric", "a=b"], "--metric: expected NAME=NUMBER, such as recall@20=0.31, got 'a=b'"),
        ("owner: me", ["--tag", "two words"], "tags.0: expected "),
    ],
)
def test_what_is_wrong_of_a_manifest_is_named_in_one_line(
    program: Program, graph: str, manifest: str, options: list[str], words: str
) -> None:
    path = program.folder / "manifest.yaml"
    path.write_text(manifest)
    ended = program("publish", "m", graph, "--manifest", str(path), *options)
    assert ended.code == 2
    assert ended.error.startswith(words)


def test_a_recipe_stands_in_one_file_only(program: Program, shop: list[str]) -> None:
    recipe = program.folder / "recipe.json"
    recipe.write_text(json.dumps({"history": {"n": 4}}))
    ended = program(*shop, "--recipe", str(recipe))
    assert (ended.code, ended.error) == (2, "--recipe: expected no inputs, which --manifest has, got both")
