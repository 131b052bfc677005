"""What does not pass the gate is not announced, and the report says why."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from publisher.api import publish
from publisher.gate.demands import Demands, Requirement
from publisher.gate.report import Check, GateError
from publisher.ledger import Ledger
from serving.bundles.about import Limits
from serving.bus.connect import connect_bus
from serving.errors import InvalidRequestError, UserError
from serving.settings import Settings
from tests.builders.graphs import doubler


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


def versions(settings: Settings) -> list[int]:
    bus = connect_bus(settings)
    try:
        models = Ledger(bus, settings.topics).read().models
        return sorted(models["m"].versions) if models else []
    finally:
        bus.close()


def passed(settings: Settings, demands: Demands, graph: Any = None) -> dict[str, Check]:
    found: list[Check] = []
    publish(
        "m",
        graph or doubler(),
        gate=demands,
        settings=settings,
        passed=lambda _bundle, passage: found.extend(passage.checks),
    )
    return {check.name: check for check in found}


def failed(settings: Settings, demands: Demands, graph: Any = None, limits: Limits | None = None) -> list[Check]:
    before = versions(settings)
    with pytest.raises(GateError) as caught:
        publish("m", graph or doubler(), gate=demands, limits=limits, settings=settings)
    assert versions(settings) == before
    return [check for check in caught.value.checks if not check.passed]


def test_latency_at_three_sizes_memory_and_the_fleet_are_in_the_report(settings: Settings) -> None:
    found = passed(settings, Demands())
    assert {"trial", "latency of 1 rows", "latency of 16 rows", "latency of 64 rows", "memory"} <= found.keys()
    assert found["what live workers can load"].actual == "no node is live: not compared"


def test_a_latency_over_its_budget_is_refused_and_one_within_is_not(settings: Settings) -> None:
    (check,) = failed(settings, Demands(latency_ms={1: 1e-9, 8: 60_000.0}))
    assert (check.name, check.expected) == ("latency of 1 rows", "at most 1e-09 ms")
    assert passed(settings, Demands(latency_ms={8: 60_000.0}))["latency of 8 rows"].passed


def test_memory_over_its_budget_is_refused(settings: Settings) -> None:
    (check,) = failed(settings, Demands(memory_bytes=1 << 20))
    assert (check.name, check.expected) == ("memory", "at most 1 MiB")


def test_budgets_of_the_manifest_hold_where_none_are_demanded(settings: Settings) -> None:
    limits = Limits(latency_ms={1: 1e-9, 8: 1e-9}, resident_bytes=1 << 20)
    assert [(check.name, check.expected) for check in failed(settings, Demands(), limits=limits)] == [
        ("latency of 1 rows", "at most 1e-09 ms"),
        ("latency of 8 rows", "at most 1e-09 ms"),
        ("memory", "at most 1 MiB"),
    ]
    laxer = Demands(latency_ms={1: 60_000.0}, memory_bytes=1 << 40)
    assert [check.name for check in failed(settings, laxer, limits=limits)] == ["latency of 8 rows"]


def test_a_changed_signature_needs_to_be_meant(settings: Settings) -> None:
    passed(settings, Demands())
    checks = failed(settings, Demands(), doubler(("batch", 3)))
    assert [(check.name, check.expected, check.actual) for check in checks] == [
        ("input 'x' of version 1", "FP32 [-1, 2] (or --breaking)", "FP32 [-1, 3]"),
        ("output 'y' of version 1", "FP32 [-1, 2] (or --breaking)", "FP32 [-1, 3]"),
    ]
    passed(settings, Demands(breaking=True), doubler(("batch", 3)))
    assert versions(settings) == [1, 2]


def stored_manifest(settings: Settings) -> Path:
    (path,) = (settings.data_dir / "artifacts").rglob("manifest.json")
    path.chmod(0o644)
    return path


def test_a_manifest_of_the_version_before_that_is_not_as_announced_is_refused(settings: Settings) -> None:
    passed(settings, Demands())
    path = stored_manifest(settings)
    path.write_bytes(path.read_bytes().replace(b'"x"', b'"z"'))
    (check,) = failed(settings, Demands())
    assert (check.name, check.expected) == ("signature, against version 1", "the manifest as announced")
    assert check.actual.startswith("manifest.json: SHA-256 ")


def test_a_manifest_of_the_version_before_that_is_gone_is_not_compared(settings: Settings) -> None:
    passed(settings, Demands())
    stored_manifest(settings).unlink()
    assert passed(settings, Demands())["signature, against version 1"].actual.startswith("not compared: manifest.json")


def test_a_metric_has_to_keep_its_bound_whoever_computes_it(settings: Settings) -> None:
    bound = ("recall@20>=0.3",)
    assert failed(settings, Demands(require=bound))[0].actual == "no such metric"
    assert failed(settings, Demands(require=bound, metrics={"recall@20": 0.29}))[0].actual == "0.29"
    assert failed(settings, Demands(require=bound, metrics={"recall@20": float("nan")}))[0].actual == "nan"
    assert passed(settings, Demands(require=bound, metrics={"recall@20": 0.3}))["metric recall@20"].passed

    def hook(bundle: Any, session: Any) -> dict[str, float]:
        rows = session.run({"x": np.ones((1, 2), np.float32)}, None)[0]
        return {"recall@20": float(rows[0, 0]) / 2 - 0.5, "inputs": len(bundle.manifest.inputs)}

    found = passed(settings, Demands(require=bound, hook=hook))
    assert (found["metric recall@20"].actual, found["metric inputs"].actual) == ("0.5", "1")


def test_numbers_of_numpy_are_metrics(settings: Settings) -> None:
    numbers: Any = {"a": np.float32(0.5), "b": np.int64(3)}
    found = passed(settings, Demands(hook=lambda _bundle, _session: numbers))
    assert (found["metric a"].actual, found["metric b"].actual) == ("0.5", "3")


def divides(_bundle: Any, _session: Any) -> dict[str, float]:
    return {"a": 1 / len("")}


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        (divides, "--hook: expected metrics, got ZeroDivisionError: "),
        (lambda _bundle, _session: None, "--hook: expected numbers by name, got NoneType"),
        (lambda _bundle, _session: {"a": "high"}, "--hook: metric a: expected a number, got 'high'"),
        (lambda _bundle, _session: {"a": True}, "--hook: metric a: expected a number, got True"),
    ],
)
def test_a_hook_that_fails_or_returns_no_numbers_is_an_error_of_one_line(
    settings: Settings, hook: Any, message: str
) -> None:
    with pytest.raises(UserError) as caught:
        publish("m", doubler(), gate=Demands(hook=hook), settings=settings)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert versions(settings) == []


@pytest.mark.parametrize("text", ["recall@20", "recall>=x", ">=3", "a=>3"])
def test_a_bound_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="require: expected METRIC"):
        Demands(require=(text,))


def test_a_bound_may_look_either_way() -> None:
    assert Requirement.parse("loss < 0.5").met(0.4)
    assert not Requirement.parse("loss<0.5").met(0.5)
