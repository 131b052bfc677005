"""What people say of a model: in a call, in a file, and as it stands in the manifest."""

import json
from typing import Any

import pytest

from serving.bundles.about import About, Limits, read_about, read_lineage
from serving.bundles.lineage import Code, Lineage
from serving.bundles.manifest import read_manifest
from serving.bundles.manifest_file import parse_manifest_file
from serving.bundles.nearline import NearlineSettings
from serving.errors import InvalidRequestError
from serving.recipes.features import LastN

WHOLE = """
owner: team-reco@example.com
description: what to buy next
tags: [shop, homepage, shop]
limits: {memory_bytes: 1000000, trial_s: 20, resident_bytes: 2000000, latency_ms: {64: 20, 1: 0.5}}
stale_after: 7d
lineage:
  framework: pytorch
  code: {commit: abc, dirty: true}
  training_data: {reference: s3://lake/events, start: 2026-01-01, end: 2026-02-01}
  metrics: {recall@20: 0.31}
  parents: [shop@3]
  parameters: {alpha: 0.5, kind: fast, deep: true, seed: null}
inputs: {history: {op: last_n, n: 4}}
nearline: {ttl: 1d}
"""


def test_a_file_says_all_of_it() -> None:
    said = parse_manifest_file(WHOLE)
    assert said.about.tags == ("homepage", "shop"), "in order and once"
    latencies = {1: 0.5, 64: 20.0}
    assert said.about.limits == Limits(
        memory_bytes=1_000_000, trial_s=20, resident_bytes=2_000_000, latency_ms=latencies
    )
    assert list(said.about.limits.latency_ms) == [1, 64], "in order"
    assert said.about.stale_after == 7 * 86_400
    assert said.about.lineage.code == Code(commit="abc", dirty=True)
    assert said.about.lineage.parameters == {"alpha": 0.5, "kind": "fast", "deep": True, "seed": None}
    assert said.recipe == {"history": LastN(n=4)}
    assert said.nearline == NearlineSettings(ttl=86_400)


@pytest.mark.parametrize(("text", "hold"), [("hold: true", True), ("hold: false", False), ("owner: me", None)])
def test_a_file_may_say_that_the_version_is_to_be_held(text: str, hold: bool | None) -> None:
    assert parse_manifest_file(text).hold is hold


def test_a_file_that_says_how_to_hold_it_otherwise_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match=r"manifest\.hold: expected true or false, got 'maybe'"):
        parse_manifest_file("hold: maybe")


def test_a_latency_alone_is_that_of_one_row() -> None:
    assert read_about({"limits": {"latency_ms": 5}}).limits.latency_ms == {1: 5.0}


def test_what_a_file_does_not_say_is_left_to_the_defaults() -> None:
    said = parse_manifest_file("owner: me")
    assert (said.about, said.recipe, said.nearline) == (About(owner="me"), None, None)


def test_it_comes_back_from_a_manifest_as_it_was() -> None:
    about = parse_manifest_file(WHOLE).about
    signature = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}]}
    signature["outputs"] = signature["inputs"]
    manifest = read_manifest(json.dumps({**about.model_dump(mode="json"), **signature}).encode())
    assert About.model_validate(manifest.model_dump(include=set(About.model_fields))) == about


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"onwer": "me"}, "onwer: expected no such field, got 'me'"),
        ({"lineage": {"metric": {}}}, "lineage.metric: expected no such field, got {}"),
        ({"lineage": {"metrics": {"a": float("nan")}}}, "lineage.metrics.a: expected "),
        ({"lineage": {"metrics": {"a": "good"}}}, "lineage.metrics.a: expected number"),
        ({"lineage": {"parameters": {"a": [1]}}}, "lineage.parameters.a"),
        ({"lineage": {"training_data": {"start": "2026-02-01", "end": "2026-01-01"}}}, "expected no time before start"),
        ({"lineage": {"training_data": {"start": "2026-01-01", "end": "2026-02-01T00:00:00Z"}}}, "a time zone in both"),
        ({"limits": {"memory_bytes": 0}}, "limits.memory_bytes: expected "),
        ({"limits": {"memory": 1}}, "limits.memory: expected no such field"),
        ({"limits": {"latency_ms": {"0": 1}}}, "limits.latency_ms.0"),
        ({"limits": {"latency_ms": {"5000": 1}}}, "limits.latency_ms.5000"),
        ({"limits": {"latency_ms": -1}}, "limits.latency_ms.1: expected greater than 0"),
        ({"limits": {"latency_ms": "fast"}}, "limits.latency_ms: expected "),
        ({"limits": {"latency_ms": dict.fromkeys(range(1, 18), 1)}}, "limits.latency_ms: expected "),
        ({"limits": {"resident_bytes": 0}}, "limits.resident_bytes: expected greater than or equal to 1"),
        ({"tags": ["two words"]}, "tags.0: expected "),
        ({"stale_after": "soon"}, "stale_after: expected a length of time such as `90s`"),
    ],
)
def test_what_is_wrong_is_named_with_its_field(said: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read_about(said)
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("text", ["", "[]", "a: [", "7", "lineage: &a {metrics: *a}"])
def test_a_file_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        parse_manifest_file(text)


def test_the_stricter_of_two_limits_holds() -> None:
    assert Limits().trial(60, 100) == (60, 100)
    assert Limits(memory_bytes=10, trial_s=5).trial(60, 100) == (5, 10)
    assert Limits(memory_bytes=1000, trial_s=500).trial(60, 100) == (60, 100)


def test_what_was_found_only_fills_gaps() -> None:
    lineage = read_lineage({"flow": "mine", "metrics": {"a": 1}})
    assert lineage.completed(flow="theirs", run="7", metrics={}) == Lineage(flow="mine", run="7", metrics={"a": 1})
