"""An estimator in a joblib or pickle file.

Such a file is code: it is read here, on the machine of the person who made it, and never by a node.
"""

from pathlib import Path
from typing import Any

from publisher.sources.extras import extra, first_line
from serving.errors import InvalidRequestError


def read_pickled(path: Path) -> Any:
    """Return what is in it; InvalidRequestError when that is no estimator."""
    with extra("sklearn", "a scikit-learn model"):
        import joblib  # noqa: PLC0415 - an extra
    if not path.is_file():
        raise InvalidRequestError("MODEL", "a file that exists", path)
    try:
        estimator = joblib.load(path)
    except Exception as error:
        # Unpickling runs code, which raises what it likes.
        raise InvalidRequestError("MODEL", "an ONNX file or a joblib file", f"{path}: {first_line(error)}") from error
    if not hasattr(estimator, "predict"):
        raise InvalidRequestError("MODEL", "a fitted scikit-learn estimator", type(estimator).__name__)
    return estimator
