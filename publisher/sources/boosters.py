"""Teaches skl2onnx the boosters of other libraries, so that pipelines that end in one can be converted, too."""

import sys
from typing import Any

import numpy as np

from publisher.sources.extras import extra

_ML_OPSET = 3
"""The newest ai.onnx.ml that onnxmltools' converters of trees write."""


def ends_in_booster(estimator: Any) -> bool:
    """Whether it is a pipeline of scikit-learn with a booster of another library at its end."""
    steps = getattr(estimator, "steps", [])
    return bool(steps) and type(steps[-1][1]).__module__.partition(".")[0] in _REGISTER


def cast_before_booster(pipeline: Any) -> Any:
    """Make the hand-over in 32 bits explicit: boosters split at values that they were trained on.

    Computed in 32 bits all the way, a value that lies on a split may come out on its other side.
    """
    from skl2onnx.sklapi import CastTransformer  # noqa: PLC0415 - an extra
    from sklearn.pipeline import Pipeline  # noqa: PLC0415 - an extra

    *steps, last = pipeline.steps
    return Pipeline([*steps, ("in_32_bits", CastTransformer(dtype=np.float32)), last])


def register_boosters() -> dict[str, int] | None:
    """Register those whose library this process has imported; return the opsets that the conversion has to use.

    A pipeline with a booster cannot be here without its library. CatBoost has no converter for pipelines.
    """
    present = [register for name, register in _REGISTER.items() if name in sys.modules]
    if not present:
        return None
    for register in present:
        register()
    from skl2onnx import __max_supported_opset__  # noqa: PLC0415 - an extra

    return {"": __max_supported_opset__, "ai.onnx.ml": _ML_OPSET}


def _xgboost() -> None:
    with extra("xgboost", "a pipeline with XGBoost"):
        import xgboost  # noqa: PLC0415 - an extra
        from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost  # noqa: PLC0415 - an extra
    _register(xgboost.XGBClassifier, xgboost.XGBRegressor, "Xgb", convert_xgboost, {})


def _lightgbm() -> None:
    with extra("lightgbm", "a pipeline with LightGBM"):
        import lightgbm  # noqa: PLC0415 - an extra
        from onnxmltools.convert.lightgbm.operator_converters.LightGbm import (  # noqa: PLC0415 - an extra
            convert_lightgbm,
        )
    _register(lightgbm.LGBMClassifier, lightgbm.LGBMRegressor, "Lgbm", convert_lightgbm, {"split": None})


def _register(classifier: type, regressor: type, alias: str, converter: object, options: dict[str, object]) -> None:
    from skl2onnx import update_registered_converter  # noqa: PLC0415 - an extra
    from skl2onnx.common.shape_calculator import (  # noqa: PLC0415 - an extra
        calculate_linear_classifier_output_shapes,
        calculate_linear_regressor_output_shapes,
    )

    update_registered_converter(
        classifier,
        f"{alias}Classifier",
        calculate_linear_classifier_output_shapes,
        converter,
        options={"nocl": [True, False], "zipmap": [True, False, "columns"]},
    )
    update_registered_converter(
        regressor, f"{alias}Regressor", calculate_linear_regressor_output_shapes, converter, options=options
    )


_REGISTER = {"xgboost": _xgboost, "lightgbm": _lightgbm}
