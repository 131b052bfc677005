"""Publishing in one line, from a model to its announcement."""

from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import onnx
import pytest
import sklearn
from sklearn.linear_model import LogisticRegression

from protos.digest import bundle_digest
from protos.ledger import World
from protos.names import InvalidNameError
from protos.nearline.v1 import status_pb2
from protos.records import Searchable
from publisher.announce import Announcement
from publisher.api import publish
from publisher.build import list_files
from publisher.code import find_code
from publisher.gate.gate import Passage
from publisher.gate.report import GateError
from publisher.ledger import Ledger
from publisher.prepare import Prepared
from serving.bundles.about import Limits
from serving.bundles.baseline import read_baseline
from serving.bundles.bundle import BASELINE, open_bundle
from serving.bundles.lineage import TrainingData
from serving.bundles.manifest import Manifest
from serving.bundles.nearline import NearlineSettings
from serving.bus.connect import connect_bus
from serving.errors import BusUnavailableError, ConflictError, InvalidRequestError, ModelError, UserError
from serving.recipes.features import Age, LastN
from serving.recipes.recipe import Recipe
from serving.settings import Settings
from tests.builders.bundles import HISTORY, ITEMS
from tests.builders.graphs import doubler, recommender
from tests.end_to_end.crafted import ended_by_its_depth
from tests.publisher.conftest import Fitted

STEPS = ["reading the model", "building the bundle", "passing the gate", "storing and announcing it"]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


def world(settings: Settings) -> World:
    bus = connect_bus(settings)
    try:
        return Ledger(bus, settings.topics).read()
    finally:
        bus.close()


def nothing_happened(settings: Settings) -> bool:
    return world(settings).models == {} and not (settings.data_dir / "artifacts").exists()


def test_one_line_builds_tries_stores_and_announces(settings: Settings) -> None:
    steps: list[str] = []
    said = publish("shop", recommender(), items=ITEMS, samples=HISTORY, settings=settings, step=steps.append)

    assert steps == STEPS
    assert (said.model, said.version) == ("shop", 1)
    folder = Path(urlsplit(said.uri).path)
    assert folder.is_relative_to(settings.data_dir / "artifacts")
    assert bundle_digest(list_files(folder)) == said.digest
    bundle = open_bundle(folder)
    assert bundle.catalogue is not None
    assert list(bundle.catalogue.ids) == ITEMS
    known = world(settings).models["shop"].versions[1]
    assert (known.digest, known.uri, known.files) == (said.digest, said.uri, tuple(list_files(folder)))


def test_settings_come_from_the_environment_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARLINE_DATA_DIR", str(tmp_path / "there"))
    publish("m", doubler())
    assert set(world(Settings(data_dir=tmp_path / "there")).models) == {"m"}


def test_an_estimator_publishes_as_simply_as_a_graph(settings: Settings, data: Fitted) -> None:
    said = publish("ranker", LogisticRegression().fit(data.x, data.y), settings=settings)
    again = publish("ranker", LogisticRegression().fit(data.x, data.y), settings=settings)
    assert (said.version, again.version) == (1, 2)
    assert said.digest == again.digest, "the same model is the same bundle"


def test_a_path_may_be_a_string_and_a_bus_may_be_ones_own(settings: Settings, tmp_path: Path) -> None:
    onnx.save(doubler(), tmp_path / "m.onnx")
    bus = connect_bus(settings)
    try:
        publish("m", str(tmp_path / "m.onnx"), settings=settings, bus=bus)
        assert set(Ledger(bus, settings.topics).read().models) == {"m"}, "and it is still open"
    finally:
        bus.close()


def test_a_held_version_and_its_description_are_announced(settings: Settings) -> None:
    publish("m", doubler(), held=True, description="a trial balloon", settings=settings)
    known = world(settings).models["m"].versions[1]
    assert known.held
    assert open_bundle(Path(urlsplit(known.uri).path)).manifest.description == "a trial balloon"


def test_a_given_version_that_is_another_bundle_is_a_conflict(settings: Settings) -> None:
    publish("m", doubler(), version=4, settings=settings)
    assert publish("m", doubler(), version=4, settings=settings).version == 4
    with pytest.raises(ConflictError, match="version 4 of m exists"):
        publish("m", doubler(("batch", 3)), version=4, settings=settings)


def test_a_model_that_fails_its_trial_is_neither_stored_nor_announced(settings: Settings) -> None:
    steps: list[str] = []
    history = np.array([[0, 1, 2, 3]])
    with pytest.raises(GateError, match=r"WARMUP.*finite") as said:
        publish(
            "shop",
            recommender(bad_row=2),
            items=ITEMS,
            samples={"history": history},
            settings=settings,
            step=steps.append,
        )
    assert [(check.name, check.passed) for check in said.value.checks] == [("trial", False)]
    assert steps == STEPS[:3]
    assert nothing_happened(settings)


def test_a_graph_that_no_runtime_loads_is_neither_stored_nor_announced(settings: Settings) -> None:
    graph = doubler()
    graph.graph.node[0].op_type = "Divine"
    with pytest.raises(ModelError) as said:
        publish("m", graph, settings=settings)
    assert said.value.kind == status_pb2.LOAD
    assert nothing_happened(settings)


def test_a_graph_that_crashes_the_process_that_opens_it_is_an_error_that_names_the_model(settings: Settings) -> None:
    with pytest.raises(ModelError, match=r"^m: trial: the process died by SIGSEGV$") as said:
        publish("m", ended_by_its_depth(), settings=settings)
    assert said.value.kind == status_pb2.CRASH
    assert nothing_happened(settings)


def test_a_graph_that_takes_longer_to_open_than_a_trial_may_is_an_error(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", trial_timeout_s=0.001)
    with pytest.raises(ModelError, match=r"^m: trial: expected to end within 0.001 s"):
        publish("m", doubler(), settings=settings)
    assert nothing_happened(settings)


def test_a_bundle_above_the_limit_is_refused_before_it_is_tried(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", max_bundle_bytes=1024)
    with pytest.raises(InvalidRequestError, match=r"^bundle: expected at most 1024 bytes, got \d+$"):
        publish("shop", recommender(), items=ITEMS, settings=settings)
    assert nothing_happened(settings)


@pytest.mark.parametrize(("name", "version"), [("Shop", None), ("", None), ("m" * 65, None), ("m", 0), ("m", -1)])
def test_a_wrong_name_or_version_is_refused_before_anything_is_read(
    settings: Settings, name: str, version: int | None
) -> None:
    with pytest.raises(InvalidNameError, match=r"^(model name|version): expected "):
        publish(name, "there-is-no.onnx", version=version, settings=settings)


@pytest.mark.parametrize("servers", ["broker:9092", "127.0.0.1:9092,broker:9092", "10.0.0.1:9092"])
def test_a_folder_of_this_machine_is_refused_when_the_bus_is_on_another(tmp_path: Path, servers: str) -> None:
    settings = Settings(data_dir=tmp_path, bus=f"kafka://{servers}")
    with pytest.raises(UserError, match=r"^artifacts: expected a store that every node can read.*NEARLINE_ARTIFACTS"):
        publish("m", doubler(), settings=settings)


@pytest.mark.parametrize(
    ("servers", "artifacts"),
    [("127.0.0.1:1", ""), ("localhost:1", ""), ("127.0.0.1:1,[::1]:1", ""), ("nohost.invalid:1", "memory://a")],
)
def test_a_bus_of_this_machine_or_a_store_of_ones_own_is_taken(tmp_path: Path, servers: str, artifacts: str) -> None:
    settings = Settings(data_dir=tmp_path, bus=f"kafka://{servers}", artifacts=artifacts)
    with pytest.raises(BusUnavailableError, match="no broker listens"):  # which comes after that check
        publish("m", doubler(), settings=settings)


def test_nearline_settings_are_published_as_given(settings: Settings) -> None:
    one = publish("shop", recommender(), items=ITEMS, nearline={"ttl": "6h", "stored": 2}, settings=settings)
    assert open_bundle(Path(urlsplit(one.uri).path)).manifest.nearline == NearlineSettings(ttl=21_600, stored=2)
    other = publish(
        "shop", recommender(), items=ITEMS, nearline=NearlineSettings(ttl=21_600, stored=2), settings=settings
    )
    assert other.digest == one.digest


def test_wrong_nearline_settings_are_refused_before_anything_is_read(settings: Settings) -> None:
    words = r"nearline\.switch: expected 'on-backfill' or 'on-load', got 'never'"
    with pytest.raises(InvalidRequestError, match=words):
        publish("shop", "nowhere.onnx", nearline={"switch": "never"}, settings=settings)
    assert nothing_happened(settings)


def test_a_recipe_with_an_age_is_refused_without_a_ttl(settings: Settings) -> None:
    graph = recommender()
    graph.graph.input.append(onnx.helper.make_tensor_value_info("age", onnx.TensorProto.FLOAT, ["batch"]))
    recipe: Recipe = {"history": LastN(n=4), "age": Age()}
    with pytest.raises(UserError, match=r"nearline.ttl: expected a length of time such as `1d`.*\(age\), got none"):
        publish("shop", graph, items=ITEMS, recipe=recipe, settings=settings)
    assert nothing_happened(settings)
    assert publish("shop", graph, items=ITEMS, recipe=recipe, nearline={"ttl": "1d"}, settings=settings).version == 1


def manifest_of(said: Announcement) -> Manifest:
    return open_bundle(Path(urlsplit(said.uri).path)).manifest


def test_what_is_said_of_a_model_stands_in_its_bundle_and_on_the_ledger(settings: Settings) -> None:
    said = publish(
        "shop",
        recommender(),
        items=ITEMS,
        owner="team-reco",
        tags=["shop", "homepage"],
        description="d",
        stale_after="7d",
        limits={"trial_s": 50},
        lineage={"metrics": {"recall@20": 0.3}, "framework": "pytorch"},
        settings=settings,
    )
    manifest = manifest_of(said)
    assert (manifest.owner, manifest.tags, manifest.stale_after) == ("team-reco", ("homepage", "shop"), 604_800)
    assert manifest.limits == Limits(trial_s=50)
    assert manifest.lineage.metrics == {"recall@20": 0.3}
    assert (manifest.lineage.framework, manifest.lineage.framework_version) == ("pytorch", ""), "not that of ONNX"
    assert world(settings).models["shop"].versions[1].about == Searchable(
        "team-reco", "d", ("homepage", "shop"), ("history", "item"), "pytorch", 604_800
    )


def test_framework_code_and_training_data_are_filled_in(settings: Settings, data: Fitted, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("a,b,c\n" + "\n".join(",".join(map(str, row)) for row in data.x))
    model = LogisticRegression().fit(data.x, data.y)
    said = publish("m", model, training_data=rows, lineage={"training_data": {"end": "2026-01-01"}}, settings=settings)
    lineage = manifest_of(said).lineage
    assert (lineage.framework, lineage.framework_version) == ("scikit-learn", sklearn.__version__)
    assert lineage.code == find_code()
    assert lineage.training_data == TrainingData(reference=str(rows), end=datetime(2026, 1, 1))  # noqa: DTZ001 - as said
    baseline = read_baseline((Path(urlsplit(said.uri).path) / BASELINE).read_bytes())
    assert (baseline.source, baseline.rows, sorted(baseline.attributes)) == ("training data", 200, ["a", "b", "c"])
    again = publish("m", model, training_data=rows, lineage={"training_data": {"end": "2026-01-01"}}, settings=settings)
    assert again.digest == said.digest, "quantile sketches throw coins, but not here"


def test_a_model_may_not_take_more_than_it_says(settings: Settings) -> None:
    with pytest.raises(GateError, match=r"TIMEOUT: .*expected to end within"):
        publish("m", doubler(), limits={"trial_s": 0.001}, settings=settings)
    assert nothing_happened(settings)


def test_a_dry_run_tells_the_version_and_the_bundle_and_does_nothing(settings: Settings) -> None:
    steps: list[str] = []
    seen: list[tuple[str, set[str]]] = []

    def look(bundle: Prepared, _passage: Passage) -> None:
        seen.append((bundle.digest, {path.name for path in bundle.folder.iterdir()}))

    dry = publish("m", doubler(), dry_run=True, settings=settings, step=steps.append, passed=look)
    assert (dry.version, dry.offset, dry.uri) == (1, -1, "")
    assert steps == STEPS[:3]
    assert nothing_happened(settings)
    said = publish("m", doubler(), settings=settings)
    assert seen == [(said.digest, {entry.path for entry in list_files(Path(urlsplit(said.uri).path))})]
    with pytest.raises(ConflictError, match="version 1 of m exists"):
        publish("m", doubler(("batch", 3)), version=1, dry_run=True, settings=settings)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"lineage": {"metric": {}}}, "lineage.metric: expected no such field"),
        ({"tags": ["a b"]}, "tags.0: expected "),
        ({"stale_after": "soon"}, "stale_after: expected a length of time"),
        ({"limits": {"memory_bytes": -1}}, "limits.memory_bytes: expected "),
    ],
)
def test_what_is_wrong_of_it_is_refused_before_anything_is_read(
    settings: Settings, said: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        publish("m", "nowhere.onnx", settings=settings, **said)
