"""Training rows: a recipe's features of past instants, from a table of events, on one machine.

Point in time: a row sees only events before its label's time, as near-line and online do at that instant; the windows
are the same aligned buckets. It is written apart from the incremental computation and tested to equal it (floating
sums within 1e-9, relative). What it cannot know is which events came too late to be folded.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from numpy.typing import NDArray

from publisher.past_events import PastEvents
from publisher.past_features import PastFeatures
from serving.errors import InvalidRequestError
from serving.recipes.features import Age, Constant, Count, Distinct, Last, LastN, Request
from serving.recipes.mapping import TOP_LEVEL, EventMapping
from serving.recipes.recipe import Feature, Recipe
from serving.recipes.tensors import DTYPES, as_datatype


def training_rows(
    recipe: Recipe,
    events: pl.DataFrame,
    labels: pl.DataFrame,
    *,
    catalogue: Sequence[str] | None = None,
    mapping: EventMapping | None = None,
    datatypes: Mapping[str, str] | None = None,
) -> dict[str, NDArray[Any]]:
    """Return an array for each input, masks among them: [labels] or [labels, n], in the labels' order.

    Args:
        recipe: As it is published.
        events: Columns `entity`, `ts` (milliseconds or a datetime), and, if there are any, `id` and `type`; the others
            are fields. Of events with the same id the first in time counts; without ids each row is an event, and
            ties go by the order of rows.
        labels: Columns `entity` and `ts`, and what requests said, by the recipe's names of fields; a field that is not
            there or null is the default.
        catalogue: Item ids by row, for features that look up in it.
        mapping: Where the events' columns are, as for a topic: a dotted path is a column, or a field of a struct.
        datatypes: Of inputs, such as FP64. Default: INT64 for rows, counts and masks, FP32 for numbers, BYTES for text.

    Raises:
        InvalidRequestError: A column or a datatype is not as expected.
    """
    wanted = _datatypes(recipe)
    for name, datatype in (datatypes or {}).items():
        if name not in wanted:
            raise InvalidRequestError("datatypes", f"inputs of {sorted(wanted)}", repr(name))
        if datatype not in DTYPES:
            raise InvalidRequestError(f"datatypes.{name}", f"one of {sorted(DTYPES)}", repr(datatype))
    past = PastEvents(events, mapping or EventMapping(fields=TOP_LEVEL))
    features = PastFeatures(past, past.labels(labels), labels, catalogue)
    out: dict[str, NDArray[Any]] = {}
    for name, feature in recipe.items():
        if isinstance(feature, LastN):
            out[name], filled = features.last_n(feature)
            if feature.mask is not None:
                out[feature.mask] = filled
        else:
            out[name] = _scalar(features, feature)
    wanted.update(datatypes or {})
    return {name: as_datatype(values, DTYPES[wanted[name]]) for name, values in out.items()}


def _scalar(features: PastFeatures, feature: Feature) -> NDArray[Any]:  # noqa: PLR0911 - a table
    match feature:
        case Last():
            return features.last(feature)
        case Count():
            return features.count(feature)
        case Distinct():
            return features.distinct(feature)
        case Age():
            return features.age(feature)
        case Request():
            return features.request(feature)
        case Constant():
            return features.constant(feature.value)
        case LastN():
            raise TypeError("last_n is no scalar")
        case _:
            return features.aggregate(feature)


def _datatypes(recipe: Recipe) -> dict[str, str]:
    found = {}
    for name, feature in recipe.items():
        match feature:
            case Last() | LastN():
                found[name] = {"rows": "INT64", "numbers": "FP32", "text": "BYTES"}[feature.values]
            case Count() | Distinct():
                found[name] = "INT64"
            case Request() if feature.vocabulary is not None:
                found[name] = "INT64"
            case Request(default=str()) | Constant(value=str()):
                found[name] = "BYTES"
            case _:
                found[name] = "FP32"
        if isinstance(feature, LastN) and feature.mask is not None:
            found[feature.mask] = "INT64"
    return found
