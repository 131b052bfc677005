"""MLflow: `models:/…`, `runs:/…` or a folder with an MLmodel file, resolved to the model of its own framework."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from publisher.sources.extras import extra, first_line
from serving.errors import InvalidRequestError, UserError

FLAVOURS = ("onnx", "xgboost", "lightgbm", "catboost", "keras", "tensorflow", "pytorch", "sklearn")
"""The most telling first: a wrapper of a booster may have been logged as scikit-learn, too."""


def read_mlflow(where: str | Path) -> Any:
    """Return the model as its framework knows it, or the path of its ONNX file; InvalidRequestError, UserError."""
    with extra("mlflow", "a model of MLflow"):
        from mlflow.artifacts import download_artifacts  # noqa: PLC0415 - an extra
        from mlflow.models import Model  # noqa: PLC0415 - an extra
    try:
        folder = where if isinstance(where, Path) else Path(download_artifacts(artifact_uri=where))
        flavours: Mapping[str, Any] = Model.load(str(folder)).flavors
    except Exception as error:
        # MlflowException, and whatever the store behind the URI raises.
        raise InvalidRequestError("MODEL", "a model of MLflow", f"{where}: {first_line(error)}") from error
    flavour = next((name for name in FLAVOURS if name in flavours), None)
    if flavour is None:
        raise InvalidRequestError(
            "MODEL", f"one of MLflow's flavours {', '.join(FLAVOURS)}", ", ".join(sorted(flavours)) or "none"
        )
    if flavour == "onnx":
        return folder / flavours["onnx"]["data"]
    try:
        return import_module(f"mlflow.{flavour}").load_model(str(folder))
    except ImportError as error:
        raise UserError(f"MODEL: MLflow's flavour {flavour} needs a library: {first_line(error)}") from None
    except Exception as error:
        raise UserError(f"MODEL: MLflow cannot load its flavour {flavour}: {first_line(error)}") from error
