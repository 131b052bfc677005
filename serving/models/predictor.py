"""From the states of entities to answers, for one version: the same code near-line and online, so they agree.

Made once when the version is loaded, on the loading thread: what can be computed beforehand is.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protos.nearline.v1 import status_pb2
from serving.bundles.bundle import Bundle
from serving.bundles.session import ModelSession
from serving.errors import ModelError, ModelInputError
from serving.models.answers import Answer
from serving.models.circuit import Circuit
from serving.models.encoding import AnswerEncoder
from serving.recipes.batch import Requests
from serving.recipes.inputs import Inputs

DEFAULT_WIDTH = 100


class Predictor:
    """Of a recommender. Any thread."""

    def __init__(self, model: str, version: int, bundle: Bundle, session: ModelSession, circuit: Circuit) -> None:
        recommendation, catalogue = bundle.manifest.recommendation, bundle.catalogue
        assert recommendation is not None and catalogue is not None  # noqa: S101, PT018 - open_bundle demands both
        self._model = model
        self._version = version
        self._session = session
        self._circuit = circuit
        self._catalogue = catalogue
        self._encoder = AnswerEncoder(model, version, catalogue.ids)
        self.recipe = bundle.manifest.recipe
        self.settings = bundle.manifest.nearline
        self.inputs = Inputs(self.recipe, session.inputs, catalogue.ids)
        self.outputs = (recommendation.items, recommendation.scores)
        shape = next(tensor.shape for tensor in session.outputs if tensor.name == recommendation.items)
        self.width = shape[1] if shape[1] > 0 else DEFAULT_WIDTH
        stored = self.settings.stored
        self.stores_all = stored is None or 0 < shape[1] <= stored
        """Whether a stored answer holds all that the model gives."""

    def predict(
        self,
        documents: Sequence[bytes | None],
        instants: Sequence[int],
        now_ms: int,
        most: int | None = None,
        requests: Requests | None = None,
    ) -> list[bytes | None]:
        """Return an encoded answer for each state at its instant, with at most `most` items; ModelError.

        None where nothing is known that the recipe looks at. `requests`: the context of each; None for the defaults.
        """
        inputs = self.inputs.compute(documents, instants, requests)
        known = self.inputs.known(inputs)
        if known.all():
            return [*self._run(inputs, now_ms, len(documents), most)]
        found: list[bytes | None] = [None] * len(documents)
        places = np.flatnonzero(known).tolist()
        if places:
            part = {name: array[known] for name, array in inputs.items()}
            for place, answer in zip(places, self._run(part, now_ms, len(places), most), strict=True):
                found[place] = answer
        return found

    def _run(self, inputs: Mapping[str, NDArray[Any]], now_ms: int, rows: int, most: int | None) -> list[bytes]:
        try:
            items, scores = self._session.run(inputs, self.outputs)
            answers = self.encode(items, scores, now_ms, rows=rows, most=most)
        except ModelInputError:
            raise
        except ModelError as error:
            self._circuit.failed(error, rows)
            raise
        self._circuit.passed(rows)
        return answers

    def encode(
        self, items: NDArray[Any], scores: NDArray[Any], now_ms: int, *, rows: int, most: int | None = None
    ) -> list[bytes]:
        """Turn the outputs (rows [batch, k] of the catalogue, scores [batch, k]) into answers; ModelError if bad.

        A row with a negative number, or a score of minus infinity, holds no item: models may give fewer than k.
        """
        # The runtime only warns when a shape is not the one that the graph declares.
        if items.ndim != 2 or len(items) != rows or items.shape != scores.shape:  # noqa: PLR2004 - [batch, k]
            raise ModelError(
                status_pb2.RUN,
                f"items and scores: expected the shape [{rows}, k], got {items.shape} and {scores.shape}",
            )
        if items.size and items.max() >= len(self._catalogue.ids):
            raise ModelError(
                status_pb2.RUN, f"items: expected rows below {len(self._catalogue.ids)}, got {items.max()}"
            )
        part = slice(0, most)
        finite = np.isfinite(scores).all()
        if finite and (not items.size or items.min() >= 0):  # the usual case, with few calls of numpy
            return self._encoder.encode(items[:, part], scores[:, part], None, now_ms)
        if not finite and not (np.isfinite(scores) | np.isneginf(scores)).all():
            raise ModelError(status_pb2.RUN, "scores: expected finite numbers, got NaN or Inf")
        held = (items >= 0) & ~np.isneginf(scores)
        return self._encoder.encode(items[:, part], scores[:, part], held[:, part], now_ms)

    def popular(self, now_ms: int) -> Answer:
        """The catalogue's popular items, with scores that only say their order."""
        ids = [self._catalogue.ids[row] for row in self._catalogue.popular]
        scores = [1.0 / (rank + 1) for rank in range(len(ids))]
        return Answer(ids, scores, self._model, self._version, now_ms)
