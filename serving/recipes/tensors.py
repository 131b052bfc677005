"""Values as a graph takes them: of the input's datatype and shape. Pure."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BYTES": np.dtype(np.object_),
}
"""The datatypes of the Open Inference Protocol that a feature can have."""


def as_datatype(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the values in that dtype; what it cannot hold becomes the nearest that it can, fractions are cut off."""
    if dtype == np.object_ or (dtype == values.dtype and dtype.kind != "f"):
        return values
    if dtype == np.bool_:
        truth: NDArray[Any] = values != 0
        return truth
    if dtype.kind == "f":
        limit = np.finfo(dtype).max
        real: NDArray[Any] = np.nan_to_num(values.astype(np.float64), posinf=limit, neginf=-limit)
        return real.clip(-limit, limit).astype(dtype)
    limits = np.iinfo(dtype)
    if values.dtype.kind != "f":
        return values.clip(limits.min, limits.max).astype(dtype)
    # The largest float below 2**63 is not the largest integer.
    most = float(limits.max) if dtype.itemsize == 4 else float(2**63 - 1024)  # noqa: PLR2004 - bytes
    whole: NDArray[Any] = np.nan_to_num(values, posinf=most, neginf=limits.min).clip(limits.min, most).astype(dtype)
    return whole
