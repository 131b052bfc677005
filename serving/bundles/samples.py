"""Rows to try a model with, as a file: an archive of numpy with an array for each input."""

import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protos.nearline.v1 import status_pb2
from serving.errors import ModelError

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip entry can have: the time of building is not part of what was built."""
_BROKEN = (OSError, ValueError, KeyError, EOFError, RuntimeError, TypeError, zipfile.BadZipFile, zlib.error)
"""What numpy and zipfile raise for a file that is not an archive of arrays."""


def encode_samples(samples: Mapping[str, NDArray[Any]]) -> bytes:
    """The same arrays give the same bytes; strings as unicode."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(samples):
            array: NDArray[Any] = samples[name]
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _EPOCH), member.getvalue())
    return buffer.getvalue()


def read_samples(path: Path) -> dict[str, NDArray[Any]]:
    """Read an array for each input; strings as object arrays. ModelError(MANIFEST)."""
    try:
        # numpy leaks the file when it opens a broken one by itself.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except _BROKEN as error:
        raise ModelError(status_pb2.MANIFEST, f"{path.name}: {error}", rejected=True) from error
    if others := sorted(name for name, array in arrays.items() if not isinstance(array, np.ndarray)):
        raise ModelError(status_pb2.MANIFEST, f"{path.name}: expected arrays, got bytes in {others}", rejected=True)
    return {name: array.astype(object) if array.dtype.kind == "U" else array for name, array in arrays.items()}
