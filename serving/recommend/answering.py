"""Recommendations for several entities as one run: features, model and encoding, each for all of them at once."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from serving.errors import NotFoundError
from serving.models.loaded import LoadedModel
from serving.models.pace import Pace
from serving.models.predictor import Predictor
from serving.recommend.queue import Waiting

_NOTHING: Mapping[str, float | str] = {}


class Asked(NamedTuple):
    """An entity's state, and what the request says to the recipe; nothing where it says what near-line assumes."""

    document: bytes | None
    context: Mapping[str, float | str] = _NOTHING


class Answering:
    """See queue.Work. An item is an Asked; a result is an encoded answer as of now, None where nothing is known.

    Of several calls as one, an item is a list of Asked, and so is the result one of answers.
    """

    def __init__(self, *, alone: bool) -> None:
        self.pace = Pace()
        self.alone = alone

    def run(self, loaded: LoadedModel, requests: Sequence[Waiting], rows: int) -> list[Any]:
        """Return the answers; ModelError."""
        predictor = predictor_of(loaded)
        # Many may ask for one entity at once, just when its prediction is not there: it is computed once for all.
        different: list[Asked] = []
        seen: dict[object, int] = {}
        places = []
        together = rows > len(requests)
        for asked in _each(requests) if together else [request.item for request in requests]:
            key = id(asked) if asked.context else asked.document
            place = seen.get(key)
            if place is None:
                place = seen[key] = len(different)
                different.append(asked)
            places.append(place)
        documents = [asked.document for asked in different]
        contexts = [asked.context for asked in different]
        now_ms = time.time_ns() // 1_000_000
        found = predictor.predict(
            documents, [now_ms] * len(documents), now_ms, requests=contexts if any(contexts) else None
        )
        if len(found) < rows:
            found = [found[place] for place in places]
        return _apart(requests, found) if together else found


def _each(requests: Sequence[Waiting]) -> Iterator[Asked]:
    for request in requests:
        if request.calls > 1:
            yield from request.item
        else:
            yield request.item


def _apart(requests: Sequence[Waiting], found: Sequence[bytes | None]) -> list[Any]:
    results: list[Any] = []
    start = 0
    for request in requests:
        end = start + request.calls
        results.append(found[start:end] if request.calls > 1 else found[start])
        start = end
    return results


def predictor_of(loaded: LoadedModel) -> Predictor:
    """Return how a version recommends; NotFoundError for one that does not."""
    if loaded.predictor is None:
        raise NotFoundError(
            f"model {loaded.model!r} version {loaded.version}: expected a recommender, "
            "got a model without recipe and catalogue (call it with ModelInfer)"
        )
    return loaded.predictor
