"""Sketches the training data of a model: an attribute for each input, or for each column of a matrix."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from publisher.sources.source import Samples
from publisher.table import Table, read_table
from serving.bundles.baseline import SAMPLES, TRAINING, Attribute, Baseline
from serving.bundles.catalogue import Catalogue
from serving.bundles.manifest import Tensor
from serving.bundles.sketches import Categories, Numbers
from serving.errors import InvalidRequestError
from serving.recipes.features import Last, LastN, Request
from serving.recipes.recipe import Feature, Recipe

WIDEST = 256
"""A matrix with more columns (an embedding) is one attribute of all its values."""
_FIELD = "training_data"
_MATRIX = 2


def make_baseline(
    training_data: Any, samples: Samples, inputs: Sequence[Tensor], recipe: Recipe, catalogue: Catalogue | None
) -> Baseline:
    """Sketch the training data, or the samples when there is none.

    Args:
        training_data: Path of a Parquet or CSV file, a frame of polars or pandas, an array for each input, or one
            array for the only input. Of a table, the columns named like inputs count; if there are none, its columns
            are those of the only input, in order.
        samples: An array for each input.
        inputs: Of the manifest.
        recipe: Tells which inputs hold rows of a vocabulary: those are categories, and so are text and booleans.
        catalogue: What the rows of a recommender are.

    Raises:
        InvalidRequestError: The data does not fit the inputs.
    """
    if training_data is None:
        return _sketched(SAMPLES, read_table(samples, _FIELD), recipe, catalogue)
    if isinstance(training_data, np.ndarray):
        if len(inputs) != 1:
            raise InvalidRequestError(_FIELD, f"an array for each of {_names(inputs)}", "one without a name")
        training_data = {inputs[0].name: training_data}
    table = read_table(training_data, _FIELD)
    return _sketched(TRAINING, _of_inputs(table, inputs), recipe, catalogue)


def _of_inputs(table: Table, inputs: Sequence[Tensor]) -> Table:
    named = {tensor.name: table.columns[tensor.name] for tensor in inputs if tensor.name in table.columns}
    if named:
        return Table(table.rows, named)
    width = inputs[0].shape[-1] if len(inputs) == 1 and len(inputs[0].shape) == _MATRIX else None
    if width is None or len(table.columns) != width:
        columns = f", or the {width} of {inputs[0].name}" if width else ""
        raise InvalidRequestError(_FIELD, f"columns named {_names(inputs)}{columns}", sorted(table.columns)[:20])
    return table


def _sketched(source: str, table: Table, recipe: Recipe, catalogue: Catalogue | None) -> Baseline:
    attributes: dict[str, Attribute] = {}
    for name, column in table.columns.items():
        for label, values in _split(name, column(), whole=name in recipe):
            attributes[label] = _attribute(label, values, recipe.get(name), catalogue)
    return Baseline(source, table.rows, attributes)


def _split(name: str, values: NDArray[Any], *, whole: bool) -> list[tuple[str, NDArray[Any]]]:
    if whole or values.ndim != _MATRIX or not 1 < values.shape[1] <= WIDEST:
        return [(name, values.reshape(-1))]
    return [(f"{name}[{column}]", values[:, column]) for column in range(values.shape[1])]


def _attribute(name: str, values: NDArray[Any], feature: Feature | None, catalogue: Catalogue | None) -> Attribute:
    words = _words(feature, catalogue)
    if values.dtype.name == "bfloat16":  # which numpy does not know as a number
        values = values.astype(np.float32)
    if words is None and values.dtype.kind in "iuf":
        numbers = values.astype(np.float64)
        there = ~np.isnan(numbers)
        return Attribute(Numbers.of(numbers[there]), int((~there).sum()))
    if values.dtype.kind not in "iufbOUS":
        raise InvalidRequestError(f"{_FIELD}.{name}", "numbers, text or booleans", values.dtype)
    counts = Counter(values.tolist())
    known: Counter[str] = Counter()
    for value, count in counts.items():
        word = _word(value) if words is None or isinstance(value, str | bytes) else words(value)
        if word is not None:
            known[word] += count
    return Attribute(Categories.of(known), len(values) - known.total())


def _word(value: Any) -> str | None:
    if value is None or value != value:  # noqa: PLR0124 - NaN
        return None
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _words(feature: Feature | None, catalogue: Catalogue | None) -> Callable[[Any], str | None] | None:
    """Of a feature that gives rows of a vocabulary, what a row is; None for the one that stands for nothing."""
    vocabulary = getattr(feature, "vocabulary", None)
    if not isinstance(feature, Last | LastN | Request) or vocabulary is None:
        return None
    ids: Sequence[str] = catalogue.ids if vocabulary == "catalogue" and catalogue else ()
    if isinstance(vocabulary, tuple):
        ids = vocabulary
    nothing = None if isinstance(feature, Request) else feature.fill

    def word(value: Any) -> str | None:
        if value is None or value != value or value == nothing:  # noqa: PLR0124 - NaN
            return None
        row = int(value)
        return ids[row] if 0 <= row < len(ids) else str(row)

    return word


def _names(inputs: Sequence[Tensor]) -> list[str]:
    return sorted(tensor.name for tensor in inputs)
