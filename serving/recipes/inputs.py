"""A model's inputs, from documents and requests: the same code near-line and online. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.recipes import columns
from serving.recipes.batch import Batch, Requests
from serving.recipes.check import Input
from serving.recipes.features import Age, Constant, Count, Distinct, Last, LastN, OfEvents, Request
from serving.recipes.features import Vocabulary as Words
from serving.recipes.recipe import Feature, Recipe, request_fields
from serving.recipes.tensors import DTYPES, as_datatype
from serving.recipes.tracks import Key, track_of
from serving.recipes.vocabulary import Vocabulary

_Make = Callable[[Batch], NDArray[Any]]


class Inputs:
    """A checked recipe for one loaded model. `catalogue_ids`: by row; None for a model without a catalogue."""

    def __init__(self, recipe: Recipe, inputs: Sequence[Input], catalogue_ids: Sequence[str] | None) -> None:
        self._tensors = {tensor.name: tensor for tensor in inputs}
        self._vocabularies: dict[Words, Vocabulary] = {}
        self._catalogue_ids = catalogue_ids
        self._scalars = {
            name: self._scalar(name, feature) for name, feature in recipe.items() if not isinstance(feature, LastN)
        }
        self._sequences = [
            (name, feature, _key(feature), self._vocabulary(feature.vocabulary))
            for name, feature in recipe.items()
            if isinstance(feature, LastN)
        ]
        self._defaults = request_fields(recipe)
        self._requested = [name for name, feature in recipe.items() if isinstance(feature, Request)]
        of_events = [name for name, feature in recipe.items() if isinstance(feature, OfEvents)]
        blank = self.compute([None], [0]) if of_events else {}
        self._blank = {name: blank[name][0] for name in of_events}

    def compute(
        self,
        documents: Sequence[bytes | None],
        instants: Sequence[int] | NDArray[np.int64],
        requests: Requests | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Return every input, a row for each entity, as of its instant (milliseconds).

        An instant that is not after the entity's newest event counts as just after it. `requests`: the context of
        each; None for the defaults. InvalidRequestError names a field of the context that has another type.
        """
        batch = Batch(documents, instants, requests)
        out: dict[str, NDArray[Any]] = {}
        for name, feature, key, vocabulary in self._sequences:
            values, filled = columns.last_n(batch, key, feature, vocabulary)
            out[name] = as_datatype(values, self._dtype(name))
            if feature.mask is not None:
                out[feature.mask] = filled.astype(self._dtype(feature.mask))
        for name, make in self._scalars.items():
            values = as_datatype(make(batch), self._dtype(name))
            out[name] = values[:, None] if len(self._tensors[name].shape) > 1 else values
        return out

    def known(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
        """Tell for which rows anything is known of the entity: some input is not what it is without any event.

        A recipe that looks at no events knows everybody.
        """
        found: NDArray[np.bool_] | None = None
        for name, blank in self._blank.items():
            differs = inputs[name] != blank
            differs = differs.any(axis=1) if differs.ndim > 1 else differs
            found = differs if found is None else found | differs
        return np.ones(len(next(iter(inputs.values()))), np.bool_) if found is None else found

    @property
    def of_events(self) -> bool:
        """Whether the recipe looks at events at all: then nothing is known of an entity without a document."""
        return bool(self._blank)

    def said(self, context: Mapping[str, float | str]) -> dict[str, float | str]:
        """Return the part of a request's context that the recipe looks at and that is not the default anyway.

        InvalidRequestError names a field that has another type: before it can spoil the run that others share.
        """
        if not context:
            return {}
        found = {name: value for name, value in context.items() if self._defaults.get(name, value) != value}
        if found:
            batch = Batch([None], [0], [found])
            for name in self._requested:
                self._scalars[name](batch)
        return found

    def _dtype(self, name: str) -> np.dtype[Any]:
        return DTYPES[self._tensors[name].datatype]

    def _scalar(self, name: str, feature: Feature) -> _Make:  # noqa: PLR0911 - a table
        match feature:
            case Constant():
                kind = np.object_ if isinstance(feature.value, str) else None
                return lambda batch: np.full(batch.size, feature.value, kind)
            case Request():
                known = self._vocabulary(feature.vocabulary)
                whole = self._dtype(name).kind in "iu" and known is None
                return lambda batch: columns.request(batch, feature, known, whole=whole)
        key = _key(feature)
        match feature:
            case Last():
                words = self._vocabulary(feature.vocabulary)
                return lambda batch: columns.last(batch, key, feature, words)
            case Count():
                return lambda batch: columns.count(batch, key, feature)
            case Distinct():
                return lambda batch: columns.distinct(batch, key, feature)
            case Age():
                return lambda batch: columns.age(batch, key, feature)
            case LastN():
                raise TypeError("last_n is no scalar")
            case _:
                return lambda batch: columns.aggregate(batch, key, feature)

    def _vocabulary(self, words: Words) -> Vocabulary | None:
        if words is None:
            return None
        if words not in self._vocabularies:
            found = self._catalogue_ids if words == "catalogue" else words
            if found is None:
                raise ValueError("vocabulary: expected a catalogue in the bundle, got none")
            self._vocabularies[words] = Vocabulary(found)
        return self._vocabularies[words]


def _key(feature: Feature) -> Key:
    track = track_of(feature)
    assert track is not None  # noqa: S101 - only request and constant need no events
    return track.key
