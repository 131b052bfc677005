"""XGBoost, LightGBM and CatBoost: files, digests, and what is refused with the reason."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import catboost
import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from publisher.build import build_bundle
from publisher.sources.choose import load_source
from serving.bundles.session import ModelSession
from serving.errors import InvalidRequestError, UserError
from tests.publisher.conftest import Fitted

_CATBOOST = {"iterations": 3, "verbose": 0, "allow_writing_files": False}
_SCRIPT = (
    "import sys, pathlib; from publisher.build import build_bundle; from publisher.sources.choose import load_source;"
    "print(build_bundle(load_source(sys.argv[1]), pathlib.Path(sys.argv[2])))"
)


@pytest.fixture(params=["m.json", "m.ubj", "m.txt", "m.cbm"])
def file(request: pytest.FixtureRequest, data: Fitted, tmp_path: Path) -> Path:
    path = tmp_path / str(request.param)
    if path.suffix == ".cbm":
        catboost.CatBoostClassifier(**_CATBOOST).fit(data.x, data.y).save_model(str(path))
    elif path.suffix == ".txt":
        lightgbm.train({"objective": "binary", "verbose": -1}, lightgbm.Dataset(data.x, data.y), 3).save_model(path)
    else:
        xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(data.x, data.y), 3).save_model(path)
    return path


def test_the_same_file_has_the_same_digest_in_any_process(file: Path, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two", "there")]
    for folder in folders:
        folder.mkdir()
    one, two = (build_bundle(load_source(file), folder) for folder in folders[:2])
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, file, folders[2]], capture_output=True, text=True, check=True, timeout=100
    )
    assert one == two
    assert done.stdout.strip() == str(one)


def test_outputs_are_declared_as_they_come(file: Path, data: Fitted, tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    source = load_source(file, data.x)
    build_bundle(source, tmp_path / "bundle")
    outputs = ModelSession.open(tmp_path / "bundle").outputs
    assert [(tensor.name, tensor.datatype, tensor.shape) for tensor in outputs] == [
        ("label", "INT64", (-1,)),
        ("probabilities", "FP32", (-1, 2)),
    ]
    assert source.agreement is not None
    assert (source.agreement.rows, source.agreement.difference < 1e-5) == (200, True)


def test_columns_of_a_frame_are_found_by_name_whatever_their_order(data: Fitted) -> None:
    frame = pd.DataFrame(data.x, columns=["age", "spend", "visits"])
    for model in (
        xgboost.XGBClassifier(n_estimators=3).fit(frame, data.y),
        lightgbm.LGBMClassifier(n_estimators=3, verbose=-1).fit(frame, data.y),
        catboost.CatBoostClassifier(**_CATBOOST).fit(frame, data.y),
    ):
        columns = {name: frame[name].to_numpy() for name in ("visits", "age", "spend")}
        (rows,) = load_source(model, {**columns, "target": data.y}).samples.values()
        np.testing.assert_array_equal(rows, data.x[:64].astype(np.float32))
        with pytest.raises(
            InvalidRequestError, match="expected the columns age, spend, visits, got none for age, spend"
        ):
            load_source(model, {"visits": columns["visits"]})


@pytest.mark.parametrize("name", ["m.json", "m.ubj", "m.txt", "m.cbm"])
@pytest.mark.parametrize("content", [b"nonsense", None])
def test_a_file_of_something_else_is_refused_in_one_line(name: str, content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidRequestError, match=r"^MODEL: expected a ") as said:
        load_source(tmp_path / name)
    assert "\n" not in str(said.value)


@pytest.mark.parametrize(
    "model",
    [xgboost.XGBClassifier(), xgboost.Booster(), lightgbm.LGBMClassifier(), catboost.CatBoostClassifier()],
    ids=lambda model: f"{type(model).__module__}.{type(model).__name__}",
)
def test_what_was_not_fitted_is_refused(model: Any) -> None:
    with pytest.raises(UserError, match=r"^MODEL: expected a fitted "):
        load_source(model)


def test_categorical_columns_are_refused_with_a_way_out(data: Fitted) -> None:
    frame = pd.DataFrame({"country": pd.Categorical(data.words), "x": data.x[:, 0]})
    boosters = [
        xgboost.XGBClassifier(n_estimators=3, enable_categorical=True).fit(frame, data.y),
        lightgbm.LGBMClassifier(n_estimators=3, verbose=-1).fit(frame, data.y),
        catboost.CatBoostClassifier(cat_features=["country"], **_CATBOOST).fit(frame, data.y),
    ]
    for model in boosters:
        with pytest.raises(UserError, match=r"categorical columns .*encode them as numbers"):
            load_source(model, data.x[:, :2])


def test_what_a_converter_gets_wrong_is_refused_with_the_difference(data: Fitted) -> None:
    counts = np.abs(data.z)
    model = catboost.CatBoostRegressor(loss_function="Poisson", **_CATBOOST).fit(data.x, counts)
    with pytest.raises(UserError, match=r"answers differently: predict, row \d+: .*in 200 of 200 rows$"):
        load_source(model, data.x)
    two = xgboost.XGBRegressor(n_estimators=3).fit(data.x, np.c_[data.z, -data.z])
    with pytest.raises(UserError, match="answers differently"):
        load_source(two, data.x)


def test_what_a_converter_does_not_know_is_refused(data: Fitted) -> None:
    for model, word in (
        (xgboost.XGBClassifier(n_estimators=3, booster="dart").fit(data.x, data.y), "onnxmltools failed"),
        (
            catboost.CatBoostRegressor(loss_function="MultiRMSE", **_CATBOOST).fit(data.x, np.c_[data.z, data.z]),
            "no counterpart in ONNX",
        ),
        (
            make_pipeline(StandardScaler(), catboost.CatBoostClassifier(**_CATBOOST)).fit(data.x, data.y),
            "skl2onnx cannot",
        ),
    ):
        with pytest.raises(UserError, match=f"^MODEL: .*{word}"):
            load_source(model, data.x)


@pytest.mark.parametrize("library", ["xgboost", "lightgbm", "catboost"])
def test_whole_numbers_that_32_bits_do_not_hold_are_refused(library: str, data: Fitted) -> None:
    fit: Any = {
        "xgboost": xgboost.XGBRegressor(n_estimators=3),
        "lightgbm": lightgbm.LGBMRegressor(n_estimators=3, verbose=-1),
        "catboost": catboost.CatBoostRegressor(**_CATBOOST),
    }[library]
    stamps = np.c_[data.x[:, 0], 1.7e9 + np.arange(200)]
    with pytest.raises(UserError, match=r"column 1, row 1: 1700000001 does not fit into the 32 bits"):
        load_source(fit.fit(stamps, data.z), stamps)


@pytest.mark.parametrize(
    ("library", "extra"), [("onnxmltools", "xgboost"), ("onnxmltools", "lightgbm"), ("catboost", "catboost")]
)
def test_a_missing_extra_says_what_to_install(
    library: str, extra: str, data: Fitted, monkeypatch: pytest.MonkeyPatch
) -> None:
    model: Any = {
        "xgboost": xgboost.XGBRegressor(n_estimators=1),
        "lightgbm": lightgbm.LGBMRegressor(n_estimators=1, verbose=-1),
        "catboost": catboost.CatBoostRegressor(**_CATBOOST),
    }[extra]
    model.fit(data.x, data.z)
    monkeypatch.setitem(sys.modules, library, None)  # as if it were not installed
    with pytest.raises(UserError, match=rf"^MODEL: an? \w+ model needs pip install 'nearline\[{extra}\]'$"):
        load_source(model)


@pytest.mark.parametrize(("name", "extra"), [("m.keras", "keras"), ("m.pt2", "torch")])
def test_the_extras_of_the_heavy_ones_are_named_by_the_file(
    name: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for library in ("keras", "onnxscript"):
        monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UserError, match=rf"needs pip install 'nearline\[{extra}\]'$"):
        load_source(tmp_path / name)
