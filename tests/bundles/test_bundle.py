"""A bundle as the publisher builds it and a node opens it."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from protos.digest import bundle_digest
from protos.nearline.v1 import status_pb2
from serving.bundles.bundle import CATALOGUE, FILES, MANIFEST, SAMPLES, WEIGHTS, open_bundle
from serving.errors import ModelError
from serving.recipes.recipe import LastN
from tests.builders.bundles import HISTORY, POPULAR, build
from tests.builders.graphs import K, N, doubler, echo


def test_a_recommender_is_built_whole_and_opens(tmp_path: Path) -> None:
    files = build(tmp_path)
    assert {file.path for file in files} == FILES
    bundle = open_bundle(tmp_path)
    assert bundle.catalogue is not None
    assert [bundle.catalogue.ids[row] for row in bundle.catalogue.popular] == POPULAR
    assert [(t.name, t.datatype, t.shape) for t in bundle.manifest.outputs] == [
        ("items", "INT64", (-1, K)),
        ("scores", "FP32", (-1, K)),
    ]
    assert bundle.manifest.recipe == {"history": LastN(n=N)}
    assert np.array_equal(bundle.samples()["history"], HISTORY["history"])


def test_building_the_same_again_gives_the_same_digest(tmp_path: Path) -> None:
    one, other = build(tmp_path / "one"), build(tmp_path / "other")
    assert bundle_digest(one) == bundle_digest(other)


def test_a_model_that_recommends_nothing_has_no_catalogue_and_small_weights_stay_inside(tmp_path: Path) -> None:
    build(tmp_path, doubler())
    assert not (tmp_path / CATALOGUE).exists()
    assert not (tmp_path / WEIGHTS).exists()
    bundle = open_bundle(tmp_path)
    assert (bundle.catalogue, bundle.manifest.recommendation) == (None, None)


def test_samples_of_strings_come_as_the_runtime_takes_them(tmp_path: Path) -> None:
    build(tmp_path, echo())
    assert open_bundle(tmp_path).samples()["text"].dtype == object


def refusal(folder: Path, *, samples: bool = False) -> ModelError:
    with pytest.raises(ModelError) as caught:
        open_bundle(folder).samples() if samples else open_bundle(folder)
    assert caught.value.rejected
    return caught.value


@pytest.mark.parametrize("name", ["extra.py", ".hidden", "folder"])
def test_anything_else_in_the_folder_is_refused(name: str, tmp_path: Path) -> None:
    build(tmp_path)
    (tmp_path / name).mkdir()
    error = refusal(tmp_path)
    assert (error.kind, name in str(error)) == (status_pb2.POLICY, True)


def test_a_bundle_without_manifest_is_refused(tmp_path: Path) -> None:
    build(tmp_path)
    (tmp_path / MANIFEST).unlink()
    error = refusal(tmp_path)
    assert (error.kind, str(error)) == (status_pb2.MANIFEST, "manifest.json: No such file or directory")


def test_a_recommender_without_catalogue_is_refused(tmp_path: Path) -> None:
    build(tmp_path)
    (tmp_path / CATALOGUE).unlink()
    assert str(refusal(tmp_path)) == "catalogue.msgpack: expected in a recommender's bundle, got none"


def archive(**members: bytes) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return data.getvalue()


def npz(**arrays: object) -> bytes:
    return archive(**{f"{name}.npy": npy(array) for name, array in arrays.items()})


def npy(array: object) -> bytes:
    data = io.BytesIO()
    np.save(data, np.asarray(array))
    return data.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"nothing",
        b"PK\x03\x04 cut off",
        archive(history=b"not an array"),
        archive(**{"history.npy": b"\x93NUMPY\x01\x00"}),
        npz(history=np.array([object()], object)),
        npy([1]),
        npz(other=[1]),
        npz(history=[1], more=[1]),
    ],
    ids=["empty", "text", "truncated", "bytes", "header", "pickle", "npy", "other", "more"],
)
def test_samples_that_cannot_be_read_are_refused(data: bytes, tmp_path: Path) -> None:
    build(tmp_path)
    (tmp_path / SAMPLES).write_bytes(data)
    error = refusal(tmp_path, samples=True)
    assert error.kind == status_pb2.MANIFEST
    assert str(error).startswith(SAMPLES)


def test_a_catalogue_that_is_none_is_refused(tmp_path: Path) -> None:
    build(tmp_path)
    (tmp_path / CATALOGUE).write_bytes(b"\xc1")
    assert refusal(tmp_path).kind == status_pb2.MANIFEST


def test_the_manifest_is_readable_by_people(tmp_path: Path) -> None:
    build(tmp_path)
    said = json.loads((tmp_path / MANIFEST).read_text())
    assert said["schema_version"] == 1
    history = said["recipe"]["history"]
    assert {name: history[name] for name in ("op", "field", "n", "pad")} == {
        "op": "last_n",
        "field": "item",
        "n": N,
        "pad": -1,
    }
