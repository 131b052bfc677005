"""Features of past instants, whole columns at a time. Apart from the incremental computation on purpose."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from publisher.past_events import Chosen, Ints, Labels, PastEvents
from serving.errors import InvalidRequestError
from serving.recipes.features import Age, Count, Distinct, Last, LastN, Max, Mean, Request, Sum, Windowed
from serving.recipes.tracks import lookback

Values = NDArray[Any]
CELLS = 1 << 22
"""Of a matrix in between, at most: memory does not grow with the number of labels, but for the result."""


class PastFeatures:
    """Computes one feature at a time. `table`: the labels with what requests said; `catalogue`: item ids by row."""

    def __init__(
        self, events: PastEvents, labels: Labels, table: pl.DataFrame, catalogue: Sequence[str] | None
    ) -> None:
        self._events = events
        self._labels = labels
        self._table = table
        self._catalogue = catalogue

    def last_n(self, feature: LastN) -> tuple[Values, NDArray[np.bool_]]:
        """Return values and where they are, [labels, n]."""
        chosen, values = self._looked_up(feature)
        first, end = self._span(chosen)
        first = np.maximum(first, end - lookback(feature))
        if feature.values == "rows" and feature.unknown is None:
            known = values >= 0
            counted = np.concatenate([[0], np.cumsum(known)])
            first, end, values = counted[first], counted[end], values[known]
        elif feature.unknown is not None:
            values = np.where(values < 0, feature.unknown, values)
        out = np.full((end.size, feature.n), feature.pad, values.dtype)
        filled = np.zeros(out.shape, np.bool_)
        steps = np.arange(feature.n, 0, -1)
        for part in _parts(np.full(end.size, feature.n)):
            places = end[part, None] - steps
            filled[part] = places >= first[part, None]
            out[part][filled[part]] = values[places[filled[part]]]
        return out, filled

    def last(self, feature: Last) -> Values:
        """Return the newest value."""
        chosen, values = self._looked_up(feature)
        first, end = self._span(chosen)
        if feature.values == "rows":
            values = np.where(values < 0, feature.missing if feature.unknown is None else feature.unknown, values)
        out = np.full(end.size, feature.missing, values.dtype)
        out[end > first] = values[end[end > first] - 1]
        return out

    def age(self, feature: Age) -> Values:
        """Return seconds since the newest event."""
        chosen = self._events.choose(feature.types, None, "")
        first, end = self._span(chosen)
        out = np.full(end.size, feature.missing, np.float64)
        found = end > first
        out[found] = (self._labels.instant[found] - chosen.ts[end[found] - 1]) / 1000
        return out

    def count(self, feature: Count) -> Values:
        """Return how many events."""
        start, end = self._window(feature, self._events.choose(feature.types, None, ""))
        return end - start

    def aggregate(self, feature: Sum | Mean | Max) -> Values:
        """Return sum, mean or maximum of the numbers."""
        chosen = self._events.choose(feature.types, feature.field, "numbers")
        start, end = self._window(feature, chosen)
        numbers = chosen.value.to_numpy()
        if isinstance(feature, Max):
            return np.where(end > start, _reduced(np.maximum, numbers, start, end), feature.missing)
        total = np.where(end > start, _reduced(np.add, numbers, start, end), 0.0)
        return (
            total
            if isinstance(feature, Sum)
            else np.where(end > start, total / np.maximum(end - start, 1), feature.missing)
        )

    def distinct(self, feature: Distinct) -> Values:
        """Return how many different values: those whose previous occurrence lies before the window."""
        chosen = self._events.choose(feature.types, feature.field, "words")
        start, end = self._window(feature, chosen)
        frame = pl.DataFrame({"entity": chosen.entity, "value": chosen.value}).with_row_index("place")
        previous = frame.select(pl.col("place").cast(pl.Int64).shift(1).over("entity", "value").fill_null(-1))
        before = previous["place"].to_numpy()
        out = np.zeros(end.size, np.int64)
        for part in _parts(end - start):
            lengths = (end - start)[part]
            begins = np.repeat(start[part], lengths)
            within = np.arange(begins.size) - np.repeat(np.cumsum(lengths) - lengths, lengths)
            new = before[begins + within] < begins
            out[part] = np.bincount(np.repeat(np.arange(lengths.size), lengths)[new], minlength=lengths.size)
        return np.minimum(out, feature.limit)

    def request(self, feature: Request) -> Values:
        """Return what the labels' column says, or the default."""
        name = feature.field
        if name not in self._table.columns:
            return self.constant(feature.default if feature.vocabulary is None else self._row(feature))
        column = self._table[name]
        if isinstance(feature.default, str):
            if column.dtype not in {pl.String, pl.Null}:
                raise InvalidRequestError(f"labels.{name}", "text", column.dtype)
            words = column.cast(pl.String).fill_null(feature.default)
            if feature.vocabulary is None:
                return _objects(words)
            rows = self._rows(words, feature.vocabulary)
            return np.where(rows < 0, feature.unknown, rows)
        if not (column.dtype.is_numeric() or column.dtype in {pl.Boolean, pl.Null}):
            raise InvalidRequestError(f"labels.{name}", "numbers", column.dtype)
        numbers = column.cast(pl.Float64).fill_null(feature.default)
        if not numbers.is_finite().all():
            raise InvalidRequestError(f"labels.{name}", "finite numbers", "NaN or Inf")
        whole = column.dtype.is_integer() and isinstance(feature.default, int)
        return column.fill_null(feature.default).to_numpy() if whole else numbers.to_numpy()

    def constant(self, value: float | str) -> Values:
        """Return the same for every label."""
        return np.full(self._table.height, value, np.object_ if isinstance(value, str) else None)

    def _looked_up(self, feature: Last | LastN) -> tuple[Chosen, Values]:
        kind = "words" if feature.values == "rows" else feature.values
        chosen = self._events.choose(feature.types, feature.field, kind)
        if feature.vocabulary is not None:
            return chosen, self._rows(chosen.value, feature.vocabulary)
        return chosen, _objects(chosen.value) if feature.values == "text" else chosen.value.to_numpy()

    def _rows(self, words: pl.Series, vocabulary: str | tuple[str, ...]) -> Ints:
        known = self._catalogue if vocabulary == "catalogue" else vocabulary
        if known is None:
            raise InvalidRequestError("catalogue", "the items, since a feature looks up in it", "none")
        table = pl.DataFrame({"word": pl.Series(known, dtype=pl.String)}).with_row_index("row")
        asked = pl.DataFrame({"word": words.cast(pl.String)})
        rows = asked.join(table, on="word", how="left", maintain_order="left")["row"]
        return rows.cast(pl.Int64).fill_null(-1).to_numpy()

    def _row(self, feature: Request) -> int:
        assert feature.vocabulary is not None  # noqa: S101 - who calls it has looked
        row = int(self._rows(pl.Series([feature.default], dtype=pl.String), feature.vocabulary)[0])
        return feature.unknown if row < 0 else row

    def _span(self, chosen: Chosen) -> tuple[Ints, Ints]:
        """Where an entity's events begin, and where those before the label's instant end."""
        entity, instant = self._labels
        return chosen.before(entity, np.zeros_like(instant)), chosen.before(entity, instant)

    def _window(self, feature: Windowed, chosen: Chosen) -> tuple[Ints, Ints]:
        entity, instant = self._labels
        width = feature.width_ms
        begin = ((instant - 1) // width - feature.buckets + 1) * width
        return chosen.before(entity, begin), chosen.before(entity, instant)


def _parts(cells: Ints) -> Iterator[slice]:
    """Cut rows so that each part has at most CELLS cells, or one row."""
    total = np.cumsum(cells)
    start = 0
    while start < cells.size:
        done = total[start - 1] if start else 0
        end = max(int(np.searchsorted(total, done + CELLS, "right")), start + 1)
        yield slice(start, end)
        start = end


def _reduced(how: np.ufunc, values: Values, start: Ints, end: Ints) -> Values:
    """Reduce values[start:end] for each pair, without sums over everything before, whose digits would be lost."""
    if not start.size:
        return np.zeros(0)
    order = np.lexsort((end, start))
    pairs = np.stack([start[order], end[order]], axis=1).ravel()
    out = np.empty(start.size)
    # What lies between the end of a pair and the start of the next is reduced as well, and skipped.
    out[order] = how.reduceat(np.append(values, 0.0), pairs)[::2]
    return out


def _objects(words: pl.Series) -> Values:
    out = np.empty(len(words), np.object_)
    out[:] = words.to_list()
    return out
