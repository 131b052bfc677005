"""Keras and TensorFlow, from a fitted model to gRPC: a node answers what the framework itself predicts."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from publisher.sources.choose import load_source
from serving.errors import InvalidRequestError, UserError
from tests.frameworks.conftest import HISTORIES, ITEMS, WIDTH, Digest, K, Recommends, Serve

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(600)]

X = np.random.default_rng(0).standard_normal((64, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def fitted() -> Any:
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((3,), name="numbers"),
            layers.Dense(8, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile("adam", "binary_crossentropy")
    model.fit(X, X[:, 0] > 0, verbose=0)
    return model


@pytest.fixture(scope="module")
def folder(fitted: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("models")
    fitted.save(made / "model.keras")
    fitted.export(made / "saved", verbose=False)
    return made


@pytest.mark.parametrize("kind", ["object", "file", "saved"])
def test_a_node_answers_as_keras_itself(kind: str, fitted: Any, folder: Path, serve: Serve) -> None:
    model = {"object": fitted, "file": folder / "model.keras", "saved": str(folder / "saved")}[kind]
    (name,) = load_source(model).samples
    answers = serve(kind, model, {name: X}, X)
    np.testing.assert_allclose(answers["output_0"], fitted.predict(X, verbose=0), rtol=1e-4, atol=1e-5)


def test_a_model_of_several_inputs_and_outputs_is_served(serve: Serve) -> None:
    keras.utils.set_random_seed(1)
    layers = keras.layers
    numbers, history = keras.Input((3,), name="numbers"), keras.Input((4,), name="history", dtype="int32")
    seen = layers.Flatten()(layers.Embedding(10, 4)(history))
    hidden = layers.Dense(8, activation="relu")(layers.Concatenate()([numbers, seen]))
    model = keras.Model([numbers, history], [layers.Dense(2, activation="softmax")(hidden), layers.Dense(1)(hidden)])
    given = {"numbers": X, "history": np.random.default_rng(0).integers(0, 10, (64, 4)).astype(np.int32)}

    answers = serve("several", model, given, given)

    for at, expected in enumerate(model.predict([given["numbers"], given["history"]], verbose=0)):
        np.testing.assert_allclose(answers[f"output_{at}"], expected, rtol=1e-4, atol=1e-5)


def test_a_recommender_recommends_what_keras_itself_says(recommends: Recommends) -> None:
    keras.utils.set_random_seed(2)
    layers, ops = keras.layers, keras.ops
    history = keras.Input((WIDTH,), name="history", dtype="int64")
    known = layers.Lambda(lambda rows: ops.where(rows < 0, len(ITEMS), rows))(history)
    tastes = layers.Lambda(lambda each: ops.sum(each, axis=1))(layers.Embedding(len(ITEMS) + 1, 8)(known))
    best = layers.Lambda(lambda scores: ops.top_k(scores, K))(layers.Dense(len(ITEMS))(tastes))
    rows = layers.Lambda(lambda found: ops.cast(found, "int64"))(best[1])
    model = keras.Model(history, [rows, best[0]])

    recommends("liked", model, *model.predict(HISTORIES, verbose=0))


def test_the_same_model_has_the_same_digest_in_any_process(folder: Path, digest: Digest) -> None:
    script = (
        "import sys, pathlib; from publisher.build import build_bundle; "
        "from publisher.sources.choose import load_source; "
        "print(build_bundle(load_source(sys.argv[1]), pathlib.Path(sys.argv[2])))"
    )
    for model in (folder / "model.keras", folder / "saved"):
        here = digest(model)
        assert digest(model) == here
        place = folder / f"there-{model.name}"
        place.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", script, model, place], capture_output=True, text=True, check=True, timeout=300
        )
        assert done.stdout.strip().splitlines()[-1] == str(here)


def test_what_has_no_known_inputs_or_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="was not built"):
        load_source(keras.Sequential([keras.layers.Dense(2)]))
    (tmp_path / "model.keras").write_bytes(b"nonsense")
    with pytest.raises(InvalidRequestError, match=r"expected a \.keras file"):
        load_source(tmp_path / "model.keras")
    tf.saved_model.save(tf.Module(), str(tmp_path / "empty"))
    with pytest.raises(UserError, match="signature serving_default"):
        load_source(tmp_path / "empty")


def test_rows_that_do_not_fit_are_refused(fitted: Any) -> None:
    with pytest.raises(UserError, match="samples"):
        load_source(fitted, X[:, :2])
