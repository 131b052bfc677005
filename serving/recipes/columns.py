"""From the tracks of a batch to values, a row for each entity; no Python object per item. Pure."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.errors import InvalidRequestError
from serving.recipes.batch import Batch, newest_values
from serving.recipes.buckets import COUNT, DISTINCT, SUM
from serving.recipes.features import Age, Count, Distinct, Last, LastN, Max, Mean, Request, Sum, Windowed
from serving.recipes.newest import read_texts
from serving.recipes.scalars import Scalar, number_of
from serving.recipes.tracks import Key, lookback
from serving.recipes.vocabulary import Vocabulary

Values = NDArray[Any]


def last_n(batch: Batch, key: Key, feature: LastN, vocabulary: Vocabulary | None) -> tuple[Values, NDArray[np.bool_]]:
    """Return values [batch, n], and where they are."""
    if feature.values == "text":
        return _texts(batch, key, feature)
    blobs = batch.blobs(key)
    counts, raw = newest_values(blobs, feature.n)
    filled = _numbered(feature.n) >= (feature.n - counts)[:, None]
    if vocabulary is None:
        return _placed(filled, _numbers(raw), feature.pad), filled
    rows = vocabulary.rows(raw)
    strange = rows < 0
    if not strange.any():
        return _placed(filled, rows, feature.pad), filled
    if feature.unknown is not None:
        rows[strange] = feature.unknown
        return _placed(filled, rows, feature.pad), filled
    again = np.zeros(batch.size, np.bool_)
    again[np.repeat(np.arange(batch.size), counts)[strange]] = True
    if again.all():
        return _known(blobs, feature, vocabulary)
    out = _placed(filled, rows, feature.pad)
    out[again], filled[again] = _known([blobs[at] for at in np.flatnonzero(again)], feature, vocabulary)
    return out, filled


def last(batch: Batch, key: Key, feature: Last, vocabulary: Vocabulary | None) -> Values:
    """Return the newest value, [batch]."""
    if feature.values == "text":
        texts = [read_texts(blob) for blob in batch.blobs(key)]
        return _objects([found[-1][1] if found else feature.missing for found in texts])
    counts, raw = batch.newest(key, 1)
    values: Values = _numbers(raw) if vocabulary is None else vocabulary.rows(raw)
    if vocabulary is not None:
        values[values < 0] = feature.missing if feature.unknown is None else feature.unknown
    out = np.full(batch.size, feature.missing, values.dtype)
    out[counts > 0] = values
    return out


def count(batch: Batch, key: Key, feature: Count) -> Values:
    """Return how many events, [batch]."""
    entity, words = batch.records(key, COUNT.size)
    inside = _inside(batch, feature, entity, words)
    return np.bincount(entity[inside], words[inside, 1], batch.size)


def distinct(batch: Batch, key: Key, feature: Distinct) -> Values:
    """Return how many different values, [batch]."""
    entity, words = batch.records(key, DISTINCT.size)
    inside = _inside(batch, feature, entity, words)
    return np.minimum(np.bincount(entity[inside], minlength=batch.size), feature.limit)


def aggregate(batch: Batch, key: Key, feature: Sum | Mean | Max) -> Values:
    """Return sum, mean or maximum, float64 [batch]."""
    entity, words = batch.records(key, SUM.size)
    inside = _inside(batch, feature, entity, words)
    entity, words = entity[inside], words[inside]
    if isinstance(feature, Max):
        most = np.full(batch.size, -np.inf)
        np.maximum.at(most, entity, words[:, 3].copy().view(np.float64))
        return np.where(np.isneginf(most), feature.missing, most)
    total = np.bincount(entity, words[:, 2].copy().view(np.float64), batch.size)
    if isinstance(feature, Sum):
        return total
    numbers = np.bincount(entity, words[:, 1], batch.size)
    return np.where(numbers > 0, total / np.maximum(numbers, 1), feature.missing)


def age(batch: Batch, key: Key, feature: Age) -> Values:
    """Return seconds since the newest event, float64 [batch]."""
    entity, words = batch.records(key, 8)
    out = np.full(batch.size, feature.missing, np.float64)
    out[entity] = (batch.instants[entity] - words[:, 0]) / 1000
    return out


def request(batch: Batch, feature: Request, vocabulary: Vocabulary | None, *, whole: bool = False) -> Values:
    """Return what the requests say, [batch]; InvalidRequestError for a value of another type than the default.

    `whole`: the input is of whole numbers, and so must be what is said.
    """
    said: list[Any] = [feature.default] * batch.size
    if batch.requests is not None:
        said = [_said(feature, context.get(feature.field)) for context in batch.requests]
        if whole and (broken := [value for value in said if isinstance(value, float) and not value.is_integer()]):
            raise InvalidRequestError(f"context.{feature.field}", "a whole number", broken[0])
    if not isinstance(feature.default, str):
        return np.array(said, np.float64 if any(isinstance(value, float) for value in said) else np.int64)
    if vocabulary is None:
        return _objects(said)
    rows = vocabulary.rows_of(said)
    return np.where(rows < 0, feature.unknown, rows)


def _said(feature: Request, value: Scalar) -> float | str:
    if value is None:
        return feature.default
    name = f"context.{feature.field}"
    if isinstance(feature.default, str):
        if not isinstance(value, str):
            raise InvalidRequestError(name, "a string", repr(value)[:80])
        return value
    if not isinstance(value, int | float):
        raise InvalidRequestError(name, "a number", repr(value)[:80])
    number = number_of(value)
    if number is None or number - number != 0:
        raise InvalidRequestError(name, "a finite number", repr(value)[:80])
    return value if isinstance(value, int) and -(1 << 63) <= value < 1 << 63 else number


def _inside(batch: Batch, feature: Windowed, entity: NDArray[np.int64], words: NDArray[np.int64]) -> NDArray[np.bool_]:
    newest = ((batch.instants - 1) // feature.width_ms)[entity]
    inside: NDArray[np.bool_] = (words[:, 0] > newest - feature.buckets) & (words[:, 0] <= newest)
    return inside


@lru_cache(maxsize=1000)
def _numbered(n: int) -> NDArray[np.int64]:
    """Places, which nobody may write to."""
    places = np.arange(n)
    places.flags.writeable = False
    return places


def _placed(filled: NDArray[np.bool_], values: Values, pad: float | str) -> Values:
    if values.size == filled.size:
        return values.reshape(filled.shape)
    out = np.full(filled.shape, pad, values.dtype)
    out[filled] = values
    return out


def _known(
    blobs: Sequence[bytes], feature: LastN, vocabulary: Vocabulary
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The newest known ones, where unknown ones leave their places to older ones."""
    counts, raw = newest_values(blobs, lookback(feature))
    rows = vocabulary.rows(raw)
    known = rows >= 0
    # How many known ones there are up to each place, and up to where each entity's values end.
    running = np.cumsum(known)
    ends = np.concatenate([[0], running])[np.cumsum(counts)]
    found = np.diff(ends, prepend=0)
    near = known & (running > np.repeat(ends - feature.n, counts))
    filled = _numbered(feature.n) >= (feature.n - found)[:, None]
    return _placed(filled, rows[near], feature.pad), filled


def _texts(batch: Batch, key: Key, feature: LastN) -> tuple[Values, NDArray[np.bool_]]:
    out = np.full((batch.size, feature.n), feature.pad, np.object_)
    filled = np.zeros(out.shape, np.bool_)
    for at, blob in enumerate(batch.blobs(key)):
        texts = [text for _, text in read_texts(blob)[-feature.n :]]
        if texts:
            out[at, -len(texts) :] = texts
            filled[at, -len(texts) :] = True
    return out, filled


def _numbers(raw: NDArray[np.uint64]) -> NDArray[np.float64]:
    return raw.view(">f8").astype(np.float64)


def _objects(values: Sequence[object]) -> Values:
    out = np.empty(len(values), np.object_)
    out[:] = values
    return out
